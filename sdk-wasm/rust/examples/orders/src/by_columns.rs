use hub_guest::{Batch, Columns, Result, Value, query_columns};

use crate::{fields, label, net, total};

/// A page column by column, and its last id; none at the end.
pub(crate) fn page(statement: &str, parameters: &[Value]) -> Result<Option<(i64, Batch)>> {
    let pages = query_columns(statement, parameters)?;
    let (mut ids, mut totals, mut nets) = (Vec::new(), Vec::new(), Vec::new());
    let (mut customers, mut labels) = (Vec::new(), Vec::new());
    for page in &pages {
        let (quantities, cents) = (page.signed("quantity")?, page.signed("cents")?);
        let (discounts, names) = (page.float("discount")?, page.texts("customer")?);
        for (row, &id) in page.signed("id")?.iter().enumerate() {
            let total = total(id, quantities[row], cents[row])?;
            ids.push(id);
            totals.push(total);
            nets.push(net(total, discounts[row]));
            customers.push(names.get(row).map(str::to_ascii_uppercase));
            labels.push(Some(label(names.get(row), id)));
        }
    }
    let Some(&last) = ids.last() else { return Ok(None) };
    let [id, customer, total_cents, net_cents, label] = fields();
    let columns = Columns::new(ids.len())?
        .with(id, ids)
        .with_texts(customer, customers)
        .with(total_cents, totals)
        .with(net_cents, nets)
        .with_texts(label, labels);
    Ok(Some((last, columns.into())))
}
