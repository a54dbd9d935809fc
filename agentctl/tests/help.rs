//! `--help` is documentation: it changes only where someone means it to.

#[test]
fn help_and_wrong_usage() {
    trycmd::TestCases::new().case("tests/help/*.trycmd").env("COLUMNS", "100");
}
