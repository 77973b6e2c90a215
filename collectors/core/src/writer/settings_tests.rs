//! What the operator wants of a job shows in every chart of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::chart::{Chart, Dim, Instance, Kind};
use crate::module::Host;

static POWER: Chart = Chart {
    id: "power",
    context: "nvidia.power",
    family: "power",
    title: "Power",
    units: "Watts",
    kind: Kind::Line,
    priority: 70_100,
    dims: &[Dim::new("power")],
    dynamic: None,
};

fn text(writer: &mut Writer, now: Instant) -> String {
    let instance = Arc::new(Instance::new("nvidia", "").label("index", "0"));
    let mut frame = Frame::default();
    frame.chart(&POWER, &instance).set("power", 1.0);
    String::from_utf8(writer.write(&frame, 1, now).to_vec()).unwrap()
}

fn host() -> Arc<Host> {
    Arc::new(Host {
        name: "far".to_owned(),
        hostname: "far 'away'\nDISABLE".to_owned(),
        guid: "3b241101-e2bb-4255-8caf-4136c566a962".to_owned(),
        labels: vec![("rack".to_owned(), "7".to_owned())],
    })
}

#[test]
fn labels_and_priority_of_the_configuration_are_in_the_definition() {
    let mut writer = Writer::new("rs.d", "nvidia", "gpus", false).with(Settings {
        labels: vec![("team".to_owned(), "a'b".to_owned())],
        priority_shift: -100,
        ..Settings::default()
    });
    let text = text(&mut writer, Instant::now());
    assert!(
        text.contains(
            "CLABEL 'index' '0' 1\nCLABEL 'team' 'a_b' 2\nCLABEL _collect_job 'gpus' 1\n"
        ),
        "{text}"
    );
    assert!(text.contains(" line 70000 1 "), "{text}");
}

#[test]
fn a_virtual_node_is_introduced_once_and_left_after_every_tick() {
    const AT: &str = "HOST 3b241101-e2bb-4255-8caf-4136c566a962\n";
    let mut writer = Writer::new("rs.d", "nvidia", "gpus", true).with(Settings {
        host: Some(host()),
        ..Settings::default()
    });
    let now = Instant::now();
    let first = text(&mut writer, now);
    let head = "HOST_DEFINE 3b241101-e2bb-4255-8caf-4136c566a962 'far away DISABLE'\n\
                HOST_LABEL 'rack' '7'\nHOST_DEFINE_END\n";
    assert!(first.starts_with(&format!("{head}{AT}CHART ")), "{first}");
    assert!(first.ends_with("END\nHOST ''\n"), "{first}");
    let second = text(&mut writer, now + Duration::from_secs(1));
    assert!(second.starts_with(&format!("{AT}BEGIN ")), "{second}");
    let end = String::from_utf8(writer.obsolete_all().to_vec()).unwrap();
    assert!(end.starts_with(&format!("{AT}CHART ")), "{end}");
    assert!(end.ends_with("HOST ''\n"), "{end}");
    // Nothing to say: no word about the host either.
    assert_eq!(writer.obsolete_all(), b"");
}
