//! `blufio cost`, `blufio kill` and `blufio resume`, with and without a server.

use super::{Place, model};
use serde_json::Value;

fn total(costs: &Value) -> (u64, u64) {
    (costs["total"]["calls"].as_u64().expect("calls"), costs["total"]["cost"].as_u64().expect("micro-dollars"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_is_what_the_vendor_bills_however_it_is_asked_for() {
    let api = model().await;
    let place = Place::with(&api);
    assert!(place.run(&["cost"]).good().contains("nothing was spent in the last 30 days"));
    for text in ["hi", "and now?", "[tool:now]"] {
        place.run(&["shell", "-m", text]).good();
    }
    let check = || {
        for by in ["day", "model", "session", "agent", "person", "purpose", "reason"] {
            let costs = place.run(&["cost", "--by", by, "--json"]).json();
            assert_eq!(total(&costs), (4, api.spend()), "{by}");
            let cost =
                costs["lines"].as_array().expect("lines").iter().map(|line| line["cost"].as_u64().expect("a sum"));
            assert_eq!(cost.sum::<u64>(), api.spend(), "{by}");
        }
        let here = place.run(&["cost", "--session", "local:main", "--by", "model", "--json"]).json();
        assert_eq!(total(&here), (4, api.spend()));
        assert!(place.run(&["cost", "--by", "model"]).good().contains("claude-sonnet-5-5"));
        assert!(place.run(&["cost", "--chart"]).good().contains('█'));
        let csv = place.run(&["cost", "--csv", "--by", "session"]).good();
        assert!(csv.starts_with("session,calls,input,") && csv.contains("\nlocal:main,4,"), "{csv}");
        place.run(&["cost", "--session", "local:none"]).bad(1, &["no session `local:none`"]);
    };
    check();
    let server = place.serve();
    check();
    server.stop();
    place.run(&["cost", "--days", "0"]).bad(2, &["0 is not in 1..=3660"]);
    place.run(&["cost", "--csv", "--json"]).bad(2, &["cannot be used with"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_holds_until_it_is_taken_back() {
    let api = model().await;
    let place = Place::with(&api);
    let stopped = ["nothing runs: the kill switch is on", "blufio resume"];
    assert!(place.run(&["kill"]).good().contains("everything has stopped"));
    place.run(&["shell", "-m", "first"]).bad(69, &stopped);
    let server = place.serve();
    assert!(place.run(&["status"]).good().contains("stopped by the kill switch"));
    place.run(&["shell", "-m", "second"]).bad(69, &stopped);
    assert_eq!(api.calls(), 0);
    assert_eq!(place.run(&["resume", "--json"]).json()["killed"], false);
    assert!(
        place.run(&["shell", "-m", "third"]).good().contains("message 3 of this conversation"),
        "what waited came first"
    );
    place.run(&["kill"]).good();
    place.run(&["kill"]).good();
    server.stop();
    place.run(&["resume"]).good();
    place.run(&["shell", "-m", "fourth"]).good();
    let log = place.run(&["audit", "list", "--json"]).good();
    assert_eq!(log.matches("kill_switch").count(), 5, "{log}");
}
