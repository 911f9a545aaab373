//! The page and the picture as a whole: that they are well-formed, complete, and hold no text as
//! markup.

use roxmltree::{Document, Node, ParsingOptions};

use super::{example, html, picture};
use crate::drill::record::{CircuitState, Fault, Record, Sample};

/// Fails on what isn't well-formed.
fn parsed(markup: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(markup, options).unwrap()
}

fn with_class<'a>(document: &'a Document<'a>, class: &str) -> Vec<Node<'a, 'a>> {
    let has_class = |node: &Node<'_, '_>| {
        let classes = node.attribute("class").unwrap_or("");
        classes.split(' ').any(|one| one == class)
    };
    document.descendants().filter(has_class).collect()
}

fn all_text(document: &Document<'_>) -> String {
    document
        .descendants()
        .filter_map(|node| node.text().filter(|_| node.is_text()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// How often a class of line sets its pen down anew in the first plot that has it.
fn pieces(record: &Record, class: &str) -> usize {
    let page = html(record);
    let document = parsed(&page);
    let path = with_class(&document, class)
        .into_iter()
        .find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "path")));
    path.unwrap().attribute("d").unwrap().matches('M').count()
}

#[test]
fn page_and_picture_are_well_formed_and_every_plot_has_a_title_and_a_description() {
    let record = example::drill();
    for markup in [html(&record), picture(&record)] {
        let document = parsed(&markup);
        let plots: Vec<_> = document
            .descendants()
            .filter(|node| node.tag_name().name() == "svg")
            .collect();
        assert!(!plots.is_empty());
        for plot in plots {
            for name in ["title", "desc"] {
                let child = plot
                    .children()
                    .find(|node| node.tag_name().name() == name)
                    .unwrap();
                assert!(child.text().is_some_and(|text| !text.trim().is_empty()));
                let labels = plot.attribute("aria-labelledby").unwrap();
                assert!(
                    labels
                        .split(' ')
                        .any(|id| Some(id) == child.attribute("id"))
                );
            }
        }
        let mut ids: Vec<_> = document
            .descendants()
            .filter_map(|node| node.attribute("id"))
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an id is there twice");
    }
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let record = example::drill();
    for markup in [html(&record), picture(&record)] {
        let document = parsed(&markup);
        for node in document.descendants().filter(Node::is_element) {
            assert!(
                !["script", "link", "img", "iframe", "use", "image"]
                    .contains(&node.tag_name().name())
            );
            for attribute in node.attributes() {
                assert!(
                    !["href", "src"].contains(&attribute.name()),
                    "{attribute:?}"
                );
                assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            }
        }
        assert!(!markup.contains("url(") && !markup.contains("@import"));
    }
}

#[test]
fn markup_in_any_text_is_escaped() {
    let hostile =
        "'\"><script>alert(1)</script>&amp;<!--]]>\u{0}\u{1b}\u{202e}</style></title>".to_owned();
    let elements = |record: &Record| {
        [html(record), picture(record)].map(|markup| {
            parsed(&markup)
                .descendants()
                .filter(Node::is_element)
                .count()
        })
    };
    let harmless = elements(&example::drill());

    let mut record = example::drill();
    let about = &mut record.about;
    for text in [
        &mut about.command,
        &mut about.started,
        &mut about.jetsink,
        &mut about.nats_server,
    ] {
        text.clone_from(&hostile);
    }
    record
        .faults
        .iter_mut()
        .for_each(|fault| fault.name.clone_from(&hostile));
    for contender in &mut record.contenders {
        contender.name.clone_from(&hostile);
        for check in &mut contender.checks {
            check.name.clone_from(&hostile);
            check.seen.clone_from(&hostile);
            if let Some(bound) = &mut check.bound {
                bound.clone_from(&hostile);
            }
        }
    }
    let page = html(&record);
    assert!(all_text(&parsed(&page)).contains("'\"><script>alert(1)</script>&amp;<!--]]>"));
    // A name too long for its place is left out of the row above the plots: a span for each.
    let labels = record.faults.len() * (record.contenders.len() + 1);
    let [in_page, in_picture] = elements(&record);
    assert!(
        (harmless[0] - labels..=harmless[0]).contains(&in_page),
        "{in_page} {harmless:?}"
    );
    assert!(
        (harmless[1] - record.faults.len()..=harmless[1]).contains(&in_picture),
        "{in_picture} {harmless:?}"
    );
}

#[test]
fn verdict_comes_before_the_plots_and_each_mark_has_a_word() {
    let page = html(&example::drill());
    let verdict = page.find("plain async-nats broke 2 of 5").unwrap();
    assert!(verdict < page.find("<svg").unwrap());
    let document = parsed(&page);
    let marks: Vec<_> = with_class(&document, "verdict")
        .iter()
        .flat_map(Node::descendants)
        .filter(|node| node.has_tag_name("td"))
        .filter_map(|node| node.text().filter(|_| node.attribute("class").is_some()))
        .collect();
    let count = |mark: &str| marks.iter().filter(|text| **text == mark).count();
    assert_eq!((count("✓ kept"), count("✗ broken")), (13, 2));
}

#[test]
fn unknown_value_is_a_gap_and_a_single_one_a_dot() {
    let mut record = example::drill();
    record.contenders.truncate(1);
    let sample = record.contenders[0].samples[0].clone();
    let known = |index: u32, longest_seconds| Sample {
        at: f64::from(index),
        longest_seconds,
        ..sample.clone()
    };
    record.contenders[0].samples = vec![
        known(1, Some(1.0)),
        known(2, Some(2.0)),
        known(3, Some(1.0)),
    ];
    assert_eq!(pieces(&record, "line"), 1);
    record.contenders[0].samples = vec![
        known(1, Some(1.0)),
        known(2, None),
        known(3, Some(f64::NAN)),
        known(4, Some(1.0)),
    ];
    assert_eq!(pieces(&record, "line"), 2);
    assert!(html(&record).contains("h.01"));
}

#[test]
fn many_samples_are_drawn_as_the_largest_of_each_unit_of_width() {
    let mut record = example::drill();
    record.contenders.truncate(1);
    let sample = record.contenders[0].samples[0].clone();
    let many = (1..=600_000_u32).map(|index| Sample {
        at: f64::from(index) / 10_000.0,
        emitted: u64::from(index),
        longest_seconds: Some(if index == 300_001 { 1.9 } else { 0.001 }),
        ..sample.clone()
    });
    record.contenders[0].samples = many.collect();
    let page = html(&record);
    assert!(page.len() < 200_000, "{}", page.len());
    assert!(page.contains("longest, at most 1.9 s, at 30 s"));
    let document = parsed(&page);
    let line = with_class(&document, "longest")
        .into_iter()
        .filter(|node| node.attribute("class") == Some("line longest"))
        .find_map(|node| node.attribute("d"))
        .unwrap();
    let heights: Vec<f64> = line
        .split(['M', 'L'])
        .filter_map(|point| point.split_once(' ')?.1.parse().ok())
        .collect();
    assert!((900..=1_001).contains(&heights.len()), "{}", heights.len());
    let lowest = heights.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(
        heights.iter().filter(|height| **height == lowest).count(),
        1
    );
}

#[test]
fn empty_record_and_one_without_numbers_make_pages() {
    let mut record = example::drill();
    record.contenders[0].samples.clear();
    record.contenders[1].samples.truncate(1);
    let odd = &mut record.contenders[2].samples;
    odd.truncate(2);
    odd[1].at = f64::NAN;
    odd[1].median_seconds = Some(f64::INFINITY);
    record.faults.push(Fault {
        name: String::new(),
        from: 70.0,
        until: f64::NAN,
    });
    parsed(&html(&record));
    parsed(&picture(&record));
    assert!(!html(&record).contains("NaN") && !picture(&record).contains("inf "));

    record.contenders.clear();
    record.faults.clear();
    record.about.seconds = 0.0;
    parsed(&html(&record));
    parsed(&picture(&record));
}

#[test]
fn the_circuit_is_a_band_of_its_states() {
    let mut record = example::drill();
    record.contenders.truncate(1);
    let sample = record.contenders[0].samples[0].clone();
    let state = |index: u32, circuit| Sample {
        at: f64::from(index),
        circuit,
        ..sample.clone()
    };
    let (connected, reconnecting) = (
        Some(CircuitState::Connected),
        Some(CircuitState::Reconnecting),
    );
    record.contenders[0].samples = vec![
        state(10, connected),
        state(20, connected),
        state(30, reconnecting),
        state(40, None),
        state(50, reconnecting),
    ];
    let page = html(&record);
    assert!(page.contains("reconnecting, 20 s in all"));
    let document = parsed(&page);
    let bands = |class: &str| {
        let rectangles = with_class(&document, class).into_iter();
        rectangles
            .filter_map(|node| Some((node.attribute("x")?, node.attribute("width")?)))
            .collect::<Vec<_>>()
    };
    record.about.seconds = 100.0;
    assert_eq!(bands("connected"), [("0.0", "326.3")]);
    assert_eq!(
        bands("reconnecting"),
        [("326.3", "163.1"), ("652.5", "163.1")]
    );
}

/// `JETSINK_EXAMPLE_REPORT=DIRECTORY` leaves the page and the picture there, to be looked at.
#[test]
fn the_example_is_drawn() {
    let record = example::drill();
    let (page, picture) = (html(&record), picture(&record));
    assert!(
        page.len() < 400_000 && picture.len() < 100_000,
        "{} {}",
        page.len(),
        picture.len()
    );
    if let Some(directory) = std::env::var_os("JETSINK_EXAMPLE_REPORT") {
        let directory = std::path::Path::new(&directory);
        std::fs::write(directory.join("example.html"), page).unwrap();
        std::fs::write(directory.join("example.svg"), picture).unwrap();
    }
}
