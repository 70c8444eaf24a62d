use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    dialect::{Failure, Session, Store},
    ledger::{Entry, Ledger, TableState, join},
    random::Random,
};

/// How long the source may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name of the ledger.
pub const LEDGER: &str = "ledger";

/// Random transactions over tables that it makes itself.
pub struct Workload {
    store: Arc<dyn Store>,
    random: Random,
    tables: Vec<Table>,
    tx: u64,
    changes: u64,
    version: u64,
    next_id: u64,
    extra: u64,
    ledger: Ledger,
    pace: Arc<Pace>,
}

/// How far a workload is, and how far it may go.
#[derive(Debug)]
pub struct Pace {
    /// Changes that are committed.
    pub done: AtomicU64,
    /// It waits when it has made so many.
    pub allowed: AtomicU64,
}

struct Table {
    name: &'static str,
    /// Rows: version and filling by key.
    rows: HashMap<u64, (u64, u64)>,
    /// The keys, to draw one from.
    keys: Vec<u64>,
    state: TableState,
    /// Columns that came in the middle.
    extra: Vec<String>,
}

/// What the workload left.
#[derive(Debug)]
pub struct WorkloadEnd {
    /// The tables, and their columns.
    pub tables: Vec<(String, Vec<String>)>,
    /// What it wrote.
    pub ledger: Ledger,
    /// All changes.
    pub changes: u64,
}

/// What becomes of the model when a transaction is committed.
enum Effect {
    Put { table: usize, id: u64, version: u64, filling: u64 },
    Remove { table: usize, id: u64 },
    Empty { table: usize },
    Column { table: usize, name: String },
    NoColumn { table: usize, name: String },
}

impl Workload {
    /// Makes the tables and the ledger.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn new(store: Arc<dyn Store>, random: Random) -> Self {
        let names = ["accounts", "orders", "scratch"];
        let mut session = connect(&*store);
        for name in names {
            must(session.run(&store.dialect().create_table(name)));
        }
        must(session.run(&store.dialect().create_ledger(LEDGER)));
        let table = |name| Table {
            name,
            rows: HashMap::new(),
            keys: Vec::new(),
            state: TableState::default(),
            extra: Vec::new(),
        };
        Self {
            store,
            random,
            tables: names.map(table).into(),
            tx: 0,
            changes: 0,
            version: 0,
            next_id: 0,
            extra: 0,
            ledger: Ledger::new(),
            pace: Arc::new(Pace { done: AtomicU64::new(0), allowed: AtomicU64::new(u64::MAX) }),
        }
    }

    /// The names of the tables, without the ledger's.
    pub fn tables(&self) -> Vec<String> {
        self.tables.iter().map(|table| table.name.to_owned()).collect()
    }

    /// How far it is, and how far it may go.
    pub fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.pace)
    }

    /// Makes at least `changes` changes; a source that goes away meanwhile is waited for.
    ///
    /// # Panics
    /// When the server refuses a statement, or stays away.
    pub fn run(mut self, changes: u64) -> WorkloadEnd {
        let mut session = connect(&*self.store);
        while self.changes < changes {
            if self.changes >= self.pace.allowed.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            let schema_change = changes / 6 * (self.extra + 1) < self.changes;
            let (mut statements, effects, count) =
                if schema_change { self.schema_change() } else { self.transaction() };
            self.tx += 1;
            self.apply(&effects);
            let entry = Entry {
                state: join(self.tables.iter().map(|table| table.state.to_text())),
                changes: self.changes + count + 1,
            };
            statements.push(format!(
                "insert into {LEDGER} (tx, state, changes) values ({}, '{}', {})",
                self.tx, entry.state, entry.changes
            ));
            let only_rows =
                effects.iter().all(|effect| matches!(effect, Effect::Put { .. } | Effect::Remove { .. }));
            let statements = statements.join("; ");
            let sql = match only_rows {
                true => self.store.dialect().transaction(self.tx, &statements),
                false => format!("begin; {statements}; commit"),
            };
            match session.run(&sql) {
                Ok(_) => {}
                Err(failure) if failure.is_lost => session = self.settle(&sql),
                Err(failure) => panic!("The source refuses transaction {}: {failure}\n{sql}", self.tx),
            }
            self.changes = entry.changes;
            self.ledger.insert(self.tx, entry);
            self.pace.done.store(self.changes, Ordering::Relaxed);
        }
        let columns = |table: &Table| {
            let fixed = ["id", "version", "filling", "words", "large"].map(String::from);
            (table.name.to_owned(), fixed.into_iter().chain(table.extra.iter().cloned()).collect())
        };
        WorkloadEnd {
            tables: self.tables.iter().map(columns).collect(),
            ledger: self.ledger,
            changes: self.changes,
        }
    }

    /// The session broke in the middle: whether the transaction was committed is in the ledger. If not, it is again.
    fn settle(&self, sql: &str) -> Box<dyn Session> {
        let since = Instant::now();
        loop {
            assert!(since.elapsed() < PATIENCE, "The source does not come back");
            let mut session = connect(&*self.store);
            if let Some(decide) = self.store.dialect().decide(self.tx)
                && session.run(&decide).is_err_and(|failure| failure.is_lost)
            {
                continue;
            }
            let known = session.run(&format!("select tx from {LEDGER} where tx = {}", self.tx));
            let again = match known {
                Ok(rows) if rows.is_empty() => session.run(sql),
                Ok(_) => return session,
                Err(failure) => Err(failure),
            };
            match again {
                Ok(_) => return session,
                // The server has not noticed yet that the session went that prepared it.
                Err(failure) if failure.is_lost || failure.message.contains("XAER_DUPID") => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(failure) => panic!("The source refuses transaction {}: {failure}", self.tx),
            }
        }
    }

    /// Statements, what they do, and how many changes they are.
    fn transaction(&mut self) -> (Vec<String>, Vec<Effect>, u64) {
        let size =
            if self.random.happens(20) { self.random.between(200, 800) } else { self.random.between(1, 20) };
        let (mut statements, mut effects, mut count) = (Vec::new(), Vec::new(), 0);
        // Keys that this transaction has touched are left alone, so that the model can follow afterwards.
        let mut touched = std::collections::HashSet::new();
        for _ in 0..size {
            let table = self.random.below(self.tables.len() as u64) as usize;
            let name = self.tables[table].name;
            if name == "scratch" && self.random.happens(15) && !touched.iter().any(|(one, _)| *one == table) {
                statements.push(self.store.dialect().truncate(name));
                effects.push(Effect::Empty { table });
                // Whatever else this transaction does leaves the emptied table alone.
                touched.extend(self.tables[table].keys.iter().map(|id| (table, *id)));
                touched.insert((table, 0));
                count += self.store.dialect().changes_of_truncate(self.tables[table].keys.len() as u64);
                continue;
            }
            if touched.contains(&(table, 0)) {
                continue;
            }
            let old = self.draw(table).filter(|id| !touched.contains(&(table, *id)));
            self.version += 1;
            let version = self.version;
            let kind = self.random.below(100);
            match old {
                Some(id) if kind < 12 => {
                    statements.push(format!("delete from {name} where id = {id}"));
                    effects.push(Effect::Remove { table, id });
                    touched.insert((table, id));
                }
                Some(id) if kind < 18 => {
                    self.next_id += 1;
                    let (new, filling) = (self.next_id, self.tables[table].rows[&id].1);
                    statements
                        .push(format!("update {name} set id = {new}, version = {version} where id = {id}"));
                    effects.push(Effect::Remove { table, id });
                    effects.push(Effect::Put { table, id: new, version, filling });
                    touched.extend([(table, id), (table, new)]);
                }
                Some(id) if kind < 55 => {
                    let mut filling = self.tables[table].rows[&id].1;
                    let mut set = format!("version = {version}, words = 'w{version}'");
                    if self.random.happens(300) {
                        filling = version;
                        set.push_str(&format!(
                            ", filling = {filling}, large = {}",
                            self.store.dialect().large_text(filling)
                        ));
                    }
                    for extra in &self.tables[table].extra {
                        set.push_str(&format!(", {extra} = {version}"));
                    }
                    statements.push(format!("update {name} set {set} where id = {id}"));
                    effects.push(Effect::Put { table, id, version, filling });
                    touched.insert((table, id));
                }
                _ => {
                    self.next_id += 1;
                    let id = self.next_id;
                    let filling = if self.random.happens(250) { version } else { 0 };
                    let large = match filling {
                        0 => "'small'".to_owned(),
                        filling => self.store.dialect().large_text(filling),
                    };
                    statements.push(format!(
                        "insert into {name} (id, version, filling, words, large) \
                         values ({id}, {version}, {filling}, 'w''{version}', {large})"
                    ));
                    effects.push(Effect::Put { table, id, version, filling });
                    touched.insert((table, id));
                }
            }
            count += 1;
        }
        (statements, effects, count)
    }

    /// A column more or less, and a row that has it.
    fn schema_change(&mut self) -> (Vec<String>, Vec<Effect>, u64) {
        let table = self.random.below(2) as usize;
        let Table { name, extra, .. } = &self.tables[table];
        let dialect = self.store.dialect();
        let mut statements = Vec::new();
        let mut effects = Vec::new();
        self.extra += 1;
        let column = format!("extra{}", self.extra);
        if let Some(old) = extra.first().filter(|_| self.extra.is_multiple_of(3)) {
            statements.push(dialect.drop_column(name, old));
            effects.push(Effect::NoColumn { table, name: old.clone() });
        }
        statements.push(dialect.add_column(name, &column));
        self.version += 1;
        self.next_id += 1;
        let (id, version) = (self.next_id, self.version);
        statements.push(format!(
            "insert into {name} (id, version, filling, words, large, {column}) \
             values ({id}, {version}, 0, 'x', 'small', {version})"
        ));
        effects.push(Effect::Column { table, name: column });
        effects.push(Effect::Put { table, id, version, filling: 0 });
        (statements, effects, 1)
    }

    fn draw(&mut self, table: usize) -> Option<u64> {
        let keys = &self.tables[table].keys;
        if keys.is_empty() {
            return None;
        }
        Some(keys[self.random.below(keys.len() as u64) as usize])
    }

    fn apply(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Put { table, id, version, filling } => {
                    self.tables[*table].put(*id, *version, *filling)
                }
                Effect::Remove { table, id } => self.tables[*table].remove(*id),
                Effect::Empty { table } => {
                    let table = &mut self.tables[*table];
                    table.rows.clear();
                    table.keys.clear();
                    table.state = TableState::default();
                }
                Effect::Column { table, name } => self.tables[*table].extra.push(name.clone()),
                Effect::NoColumn { table, name } => self.tables[*table].extra.retain(|one| one != name),
            }
        }
    }
}

impl Table {
    fn put(&mut self, id: u64, version: u64, filling: u64) {
        match self.rows.insert(id, (version, filling)) {
            Some((version, filling)) => self.state.remove(id, version, filling),
            None => self.keys.push(id),
        }
        self.state.add(id, version, filling);
    }

    fn remove(&mut self, id: u64) {
        if let Some((version, filling)) = self.rows.remove(&id) {
            self.state.remove(id, version, filling);
            self.keys.retain(|one| *one != id);
        }
    }
}

/// Opens a session, as soon as the server is there.
///
/// # Panics
/// When it stays away.
pub fn connect(store: &dyn Store) -> Box<dyn Session> {
    let since = Instant::now();
    loop {
        match store.open() {
            Ok(session) => return session,
            Err(failure) => {
                assert!(since.elapsed() < PATIENCE, "The server does not come back: {failure}");
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

#[track_caller]
fn must<T>(result: Result<T, Failure>) -> T {
    match result {
        Ok(value) => value,
        Err(failure) => panic!("The source refuses: {failure}"),
    }
}
