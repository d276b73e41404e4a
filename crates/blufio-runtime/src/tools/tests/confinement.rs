//! Nothing outside the workspace is read or changed, whatever the path and whatever lies in the folder.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

#[test]
fn no_form_of_a_path_leads_out() {
    let place = Place::new();
    let absolute = place.outside("secret.txt").to_str().unwrap().to_owned();
    let long = "x/".repeat(600);
    let deep = "x/".repeat(40);
    let name = "x".repeat(256);
    for path in [
        "../outside/secret.txt",
        "a/../../outside/secret.txt",
        "./../outside/secret.txt",
        "..",
        "notes/..",
        &absolute,
        "//etc/passwd",
        "/",
        "~/secret.txt",
        "a\0b",
        "a\nb",
        "\u{1b}[2J",
        &long,
        &deep,
        &name,
        ".blufio-temporary/x",
        "./.BLUFIO-temporary/x",
    ] {
        why(place.read(path));
        why(place.write(path, "x"));
        why(place.edit(path, "x", "y", true));
        why(place.list(path, 8, 0));
    }
    // Dots and tildes that are part of a name are nothing special.
    for path in ["...", "..a", "a..", "notes.", "b/~/c", "-rf", "a\\..\\b"] {
        place.write(path, path).unwrap();
        assert_eq!(place.read(path).unwrap(), path);
    }
}

#[test]
fn links_are_not_followed_wherever_they_lead() {
    let place = Place::new();
    place.put("real/file.txt", "inside");
    symlink(place.outside(""), place.inside("out")).unwrap();
    symlink("../outside/secret.txt", place.inside("secret")).unwrap();
    symlink("chain2", place.inside("chain")).unwrap();
    symlink("chain3", place.inside("chain2")).unwrap();
    symlink("../outside", place.inside("chain3")).unwrap();
    symlink("loop", place.inside("loop")).unwrap();
    symlink("real", place.inside("alias")).unwrap();
    symlink("../outside/new.txt", place.inside("dangling")).unwrap();
    let before = place.neighbours();
    for path in
        ["out/secret.txt", "secret", "chain/secret.txt", "loop", "alias/file.txt", "dangling", "out/deep/er.txt"]
    {
        for result in [place.read(path), place.write(path, "x"), place.edit(path, "the", "x", true)] {
            assert!(why(result).contains("symbolic link"), "{path}");
        }
    }
    for path in ["out", "chain", "alias", "loop"] {
        assert!(why(place.list(path, 8, 0)).contains("symbolic link"), "{path}");
    }
    assert_eq!(place.neighbours(), before);
    let listed = place.list(".", 8, 0).unwrap();
    assert!(listed.contains("out (symbolic link, not followed)") && !listed.contains("secret.txt"), "{listed}");
    assert!(listed.contains("real/\nreal/file.txt (6 bytes)"), "{listed}");
}

#[test]
fn special_files_are_refused_without_waiting() {
    let place = Place::new();
    assert!(std::process::Command::new("mkfifo").arg(place.inside("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(place.inside("socket")).unwrap();
    for path in ["pipe", "socket"] {
        assert!(why(place.read(path)).contains("not an ordinary file"));
        assert!(why(place.write(path, "x")).contains("not an ordinary file"));
        assert!(why(place.edit(path, "x", "y", false)).contains("not an ordinary file"));
    }
    assert!(why(place.read("pipe/x")).contains("is not a folder"));
    assert_eq!(place.list(".", 1, 0).unwrap(), "pipe (not an ordinary file)\nsocket (not an ordinary file)");
}

#[test]
fn a_folder_that_turns_into_a_link_while_it_is_used_leads_nowhere() {
    let place = Place::new();
    place.put("real/secret.txt", "harmless");
    std::fs::write(place.outside("only-outside.txt"), SECRET).unwrap();
    let before = place.neighbours();
    let (real, door, outside) = (place.inside("real"), place.inside("door"), place.outside(""));
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut opened = 0;
            for _ in 0..4_000 {
                // The writer may have made a folder of that name meanwhile; then this round is lost.
                if std::fs::rename(&real, &door).is_ok() {
                    std::fs::rename(&door, &real).unwrap();
                }
                if symlink(&outside, &door).is_ok() {
                    opened += 1;
                    std::fs::remove_file(&door).unwrap();
                } else {
                    drop(std::fs::remove_dir_all(&door));
                }
            }
            opened
        });
        let mut round = 0;
        while !swapper.is_finished() {
            round += 1;
            let text = place.read("door/secret.txt").unwrap_or_default();
            assert!(text.is_empty() || text.starts_with("harmless"), "{text}");
            let listed = place.list("door", 2, 0).unwrap_or_default();
            assert!(!listed.contains("only-outside"), "{listed}");
            assert!(place.read("door/only-outside.txt").is_err());
            if round % 10 == 0 {
                drop(place.edit("door/secret.txt", "less", "less.", false));
                drop(place.write("door/new.txt", "x"));
            }
        }
        assert!(swapper.join().unwrap() > 100);
    });
    assert_eq!(place.neighbours(), before);
}

#[test]
fn a_second_name_of_a_file_and_a_read_only_file_are_not_written() {
    let place = Place::new();
    std::fs::hard_link(place.outside("secret.txt"), place.inside("twin")).unwrap();
    assert!(why(place.write("twin", "x")).contains("hard link"));
    assert!(why(place.edit("twin", "secret", "x", false)).contains("hard link"));
    assert_eq!(std::fs::read_to_string(place.outside("secret.txt")).unwrap(), SECRET);
    place.put("fixed", "x");
    std::fs::set_permissions(place.inside("fixed"), std::fs::Permissions::from_mode(0o400)).unwrap();
    assert!(why(place.write("fixed", "y")).contains("read-only"));
    assert_eq!(place.get("fixed"), "x");
}

/// Paths out of the pieces that matter, and out of anything.
fn any_path(top: String) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
        Just("out".to_owned()),
        Just("up".to_owned()),
        Just("real".to_owned()),
        Just("outside".to_owned()),
        Just("secret.txt".to_owned()),
        Just("inside".to_owned()),
        Just("~".to_owned()),
        Just(top),
        Just(workspace::TEMPORARY.to_owned()),
        "[a-z]{1,3}",
        ".{0,6}",
    ];
    prop_oneof![
        3 => (proptest::collection::vec(piece, 0..7), any::<bool>())
            .prop_map(|(pieces, absolute)| format!("{}{}", if absolute { "/" } else { "" }, pieces.join("/"))),
        1 => any::<String>(),
    ]
}

#[test]
fn no_path_whatsoever_reads_or_changes_anything_outside() {
    let place = Place::new();
    place.put("real/file.txt", "inside");
    symlink(place.outside(""), place.inside("out")).unwrap();
    symlink("..", place.inside("up")).unwrap();
    symlink("../../outside", place.inside("real/outside")).unwrap();
    let before = place.neighbours();
    let top = place.top.path().to_str().unwrap().to_owned();
    let config = ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(path in any_path(top))| {
        let results = [
            place.read(&path),
            place.list(&path, 8, 0),
            place.edit(&path, "secret", "changed", true),
            place.write(&path, "written"),
        ];
        let leads_out = path.starts_with('/') || path.split('/').any(|name| name == "..");
        for result in results {
            prop_assert!(!(leads_out && result.is_ok()), "{:?}", path);
            prop_assert!(!matches!(result, Err(ToolError::Broken(_))), "{:?}", result);
            if let Ok(text) = result {
                prop_assert!(!text.contains(SECRET));
            }
        }
        prop_assert_eq!(place.neighbours(), before.clone());
    });
}
