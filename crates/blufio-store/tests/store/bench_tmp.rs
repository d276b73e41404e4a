use super::*;
use blufio_core::port::Storage;
use blufio_testkit::contract::storage::*;
#[tokio::test]
#[ignore]
async fn latency() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let store = open(&folder.path().join("b.db"), Executor::Thread);
    store.recover(AT).await.unwrap();
    let mut times = Vec::new();
    for i in 0..4000 {
        let t = std::time::Instant::now();
        store.accept(batch(vec![queue(i, i, &"x".repeat(500))])).await.unwrap();
        times.push(t.elapsed());
    }
    times.sort();
    let rss = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("p50 {:?} p99 {:?} max {:?}", times[2000], times[3960], times[3999]);
    println!("{}", rss.lines().filter(|l| l.starts_with("VmRSS")||l.starts_with("VmHWM")).collect::<Vec<_>>().join(" "));
    let t = std::time::Instant::now();
    for i in 0..1000 { store.open(key(i), AT).await.unwrap(); }
    println!("open {:?}/1000", t.elapsed());
}
