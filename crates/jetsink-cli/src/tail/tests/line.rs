use super::*;

fn cells(kind: &str, id: &str) -> [String; 5] {
    [
        "2026-11-27T21:57:40.123Z",
        "acme",
        kind,
        "cellos-supervisor",
        id,
    ]
    .map(str::to_owned)
}

#[test]
fn header_is_above_its_columns_on_a_terminal_only() {
    let line = on_terminal(&cells("dev.type", "an-id"), 80, false);
    let look = |coloured| Look::Terminal {
        width: 80,
        coloured,
    };
    let names = header(look(false)).unwrap();
    for (name, value) in [
        ("TIME", "11-27 21:57:40"),
        ("TENANT", "acme"),
        ("TYPE", "dev.type"),
        ("SOURCE", "cellos-supervi…"),
        ("ID", "an-id"),
    ] {
        let column = |text: &str, part| text[..text.find(part).unwrap()].chars().count();
        assert_eq!(column(&names, name), column(&line, value), "{name}");
    }
    let coloured = header(look(true)).unwrap();
    assert_eq!(console::strip_ansi_codes(&coloured), names);
    assert_eq!((header(Look::Tabs), header(Look::Json)), (None, None));
}

#[test]
fn a_line_fits_its_terminal_and_types_keep_their_ends() {
    let long = cells(
        "dev.cellos.events.cell.lifecycle.v1.destroyed",
        "9d1b6a52-9246-476f-afb7-55240e01f45f",
    );
    assert_eq!(
        on_terminal(&long, 80, false),
        "11-27 21:57:40 acme     …s.cell.lifecycle.v1.destroyed cellos-supervi… 9d1b6a52…"
    );
    for width in [60, 80, 100, 120, 150, 200, 400] {
        let line = on_terminal(&long, width, false);
        assert!(
            console::measure_text_width(&line) <= width,
            "{width}: {line}"
        );
    }
    let wide = on_terminal(&long, 150, false);
    for whole in &long[1..] {
        assert!(wide.contains(whole.as_str()), "{wide}");
    }
    let coloured = on_terminal(&long, 80, true);
    assert_eq!(
        console::strip_ansi_codes(&coloured),
        on_terminal(&long, 80, false)
    );
}
