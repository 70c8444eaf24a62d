//! Reads a database from a program of one's own: `cargo run --example embed -- PLUGIN_DIR DATABASE_FILE STATEMENT`.

use connector_hub::{Hub, Strategy, config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plugins, database, statement] = arguments.as_slice() else {
        return Err("Expected PLUGIN_DIR, DATABASE_FILE and STATEMENT".into());
    };
    let hub = Hub::builder().plugin_dir(plugins).build()?;
    let shop = hub.connect("sqlite", config! { "file": database.as_str() })?;
    for batch in shop.read(Strategy::query(statement.as_str()))? {
        println!("{}", batch?.num_rows());
    }
    Ok(())
}
