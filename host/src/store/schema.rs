//! The tables of the store. A newer version is one more entry of [`MIGRATIONS`]; earlier ones are never edited.

/// Each entry leads from the version of its index to the next one.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE pipelines (
        name TEXT PRIMARY KEY,
        generation INTEGER NOT NULL,
        completed_runs INTEGER NOT NULL,
        carry TEXT,
        source TEXT
    ) STRICT;
    CREATE TABLE plans (
        pipeline TEXT NOT NULL,
        generation INTEGER NOT NULL,
        run INTEGER NOT NULL,
        lanes INTEGER NOT NULL,
        description TEXT NOT NULL,
        PRIMARY KEY (pipeline, generation, run)
    ) STRICT;
    CREATE TABLE lanes (
        pipeline TEXT NOT NULL,
        lane INTEGER NOT NULL,
        token TEXT NOT NULL,
        splits TEXT NOT NULL,
        plugin TEXT NOT NULL,
        plugin_version TEXT NOT NULL,
        strategy TEXT NOT NULL,
        identity TEXT NOT NULL,
        stored_at INTEGER NOT NULL,
        PRIMARY KEY (pipeline, lane)
    ) STRICT;
    CREATE TABLE plugin_state (
        pipeline TEXT NOT NULL,
        side TEXT NOT NULL,
        name TEXT NOT NULL,
        blob TEXT NOT NULL,
        PRIMARY KEY (pipeline, side, name)
    ) STRICT;
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        pipeline TEXT NOT NULL,
        generation INTEGER NOT NULL,
        run INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        ended_at INTEGER,
        outcome TEXT,
        rows INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        dead_letters INTEGER NOT NULL DEFAULT 0,
        guarantee TEXT,
        reasons TEXT,
        error TEXT
    ) STRICT;
    CREATE INDEX runs_of_pipeline ON runs (pipeline, id);
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        pipeline TEXT NOT NULL,
        lane INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        n INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,
        stream TEXT NOT NULL,
        side TEXT NOT NULL,
        kind TEXT NOT NULL,
        reason TEXT NOT NULL,
        payload TEXT NOT NULL,
        arrow_ipc BLOB,
        stored_at INTEGER NOT NULL,
        UNIQUE (pipeline, lane, generation, n, ordinal)
    ) STRICT;
",
    "
    CREATE TABLE signals (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        pipeline TEXT NOT NULL,
        signal TEXT NOT NULL,
        given_at INTEGER NOT NULL,
        state TEXT NOT NULL,
        ended_at INTEGER,
        reason TEXT
    ) STRICT;
    CREATE INDEX signals_of_pipeline ON signals (pipeline, state);
",
];
