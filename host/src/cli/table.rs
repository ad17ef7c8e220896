//! Columns of text for people.

/// Lays rows out in columns that are as wide as they must be; the last one is as long as it is.
/// Further lines of a cell stand below it in its column.
pub fn layout(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.flat_map(|cell| cell.lines()).map(|line| line.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let height = row.iter().map(|cell| cell.lines().count()).max().unwrap_or(0);
        for line in 0..height {
            let mut out = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let part = cell.lines().nth(line).unwrap_or("");
                let padding = width.saturating_sub(part.chars().count()) + 2;
                out.push_str(part);
                out.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_long_cells_go_on_below() {
        let rows = [vec!["a".into(), "äö".into(), "x\ny".into()], vec!["bbb".into(), "c".into(), "z".into()]];
        assert_eq!(layout(&rows), "a    äö  x\n         y\nbbb  c   z\n");
    }
}
