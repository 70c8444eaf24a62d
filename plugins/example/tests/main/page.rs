//! The page for authors quotes the example word for word.

const PAGE: &str = include_str!("../../../README.md");

fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(fence.as_str())
        .skip(1)
        .filter_map(|rest| rest.split_once("```").map(|(block, _)| block))
        .collect()
}

#[test]
fn the_page_quotes_the_whole_connector() {
    let quoted = blocks("rust");
    assert_eq!(
        quoted[0],
        include_str!("../../src/lib.rs"),
        "plugins/README.md and plugins/example/src/lib.rs differ"
    );
}

#[test]
fn the_page_quotes_the_test() {
    let test = include_str!("conformance.rs");
    let quoted = blocks("rust")[1];
    assert!(
        test.contains(quoted.trim_end()),
        "plugins/README.md and plugins/example/tests/conformance.rs differ"
    );
}
