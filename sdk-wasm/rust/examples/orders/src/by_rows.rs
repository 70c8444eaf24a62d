use hub_guest::{Batch, Result, Rows, Value, query_rows};

use crate::{fields, label, net, total};

/// A page value by value, and its last id; none at the end.
pub(crate) fn page(statement: &str, parameters: &[Value]) -> Result<Option<(i64, Batch)>> {
    let mut page = query_rows(statement, parameters)?;
    let (mut rows, mut last) = (Rows::new(fields().into()), None);
    while let Some(row) = page.next_row() {
        let id: i64 = row.get("id")?;
        let customer: Option<String> = row.get("customer")?;
        let total = total(id, row.get("quantity")?, row.get("cents")?)?;
        let net = net(total, row.get("discount")?);
        let label = label(customer.as_deref(), id);
        let customer = customer.map(|name| name.to_ascii_uppercase());
        rows.push(vec![id.into(), customer.into(), total.into(), net.into(), label.into()]);
        last = Some(id);
    }
    Ok(last.map(|last| (last, rows.into())))
}
