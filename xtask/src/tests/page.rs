use super::*;

#[test]
fn template_is_filled_in_and_a_missing_value_is_an_error() {
    let template =
        "# Of {{ commit }}\n\n{% for row in rows %}\n| `{{ row | cell }}` |\n{% endfor %}\n";
    let values = context! { commit => "abc", rows => ["a | b", "<c>"] };
    let expected = "# Of abc\n\n| `a \\| b` |\n| `<c>` |\n";
    assert_eq!(render(template, values).unwrap(), expected);
    assert!(render(template, context! { rows => [""] }).is_err());
}

#[test]
fn thousands_are_separated() {
    let texts = [0, 999, 1_000, 1_234_567].map(thousands);
    assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
}
