//! Endpoints that ask for credentials, redirect, or fail.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::super::tests::{answer, serve};
use super::*;
use crate::prometheus::feed::Feed;

fn access(url: &str) -> Access {
    Access {
        url: url.parse().unwrap(),
        timeout: Duration::from_secs(5),
        username: None,
        password_file: None,
        bearer_token_file: None,
        headers_file: None,
        tls_ca: None,
        tls_cert: None,
        tls_key: None,
        tls_skip_verify: false,
    }
}

fn get(access: Access) -> anyhow::Result<String> {
    let mut body = String::new();
    Endpoint::new(access)?.get(|page| page.read_to_string(&mut body).map(drop))?;
    Ok(body)
}

fn secret(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    (dir, path)
}

#[test]
fn credentials_are_sent_from_their_files() {
    let (_dir, file) = secret("hunter2\n");
    let (server, heads) = serve(vec![answer("200 OK", "a 1\n"); 3]);
    let url = format!("http://{server}/metrics");
    let basic = Access {
        username: Some("me".to_owned()),
        password_file: Some(file.clone()),
        ..access(&url)
    };
    assert_eq!(get(basic).unwrap(), "a 1\n");
    let head = heads.recv().unwrap().1;
    assert!(
        head.to_lowercase().contains("authorization: basic "),
        "{head}"
    );
    assert!(head.contains("bWU6aHVudGVyMg=="), "{head}");
}

#[test]
fn a_token_is_read_anew_for_each_request_and_headers_line_by_line() {
    let (_dir, token) = secret("one");
    let (_headers_dir, headers) = secret("X-Scope: a\nX-Key: b c\n");
    let (server, heads) = serve(vec![answer("200 OK", "a 1\n"); 2]);
    let access = Access {
        bearer_token_file: Some(token.clone()),
        headers_file: Some(headers),
        ..access(&format!("http://{server}/metrics"))
    };
    let endpoint = Endpoint::new(access).unwrap();
    let ask = || endpoint.get(|page| page.read_to_end(&mut vec![]).map(drop));
    ask().unwrap();
    fs::write(&token, "two").unwrap();
    ask().unwrap();
    let heads = [heads.recv().unwrap().1, heads.recv().unwrap().1].map(|it| it.to_lowercase());
    assert!(
        heads[0].contains("authorization: bearer one"),
        "{}",
        heads[0]
    );
    assert!(
        heads[1].contains("authorization: bearer two"),
        "{}",
        heads[1]
    );
    assert!(heads[1].contains("x-scope: a") && heads[1].contains("x-key: b c"));
}

#[test]
fn no_error_repeats_a_secret() {
    let (_dir, file) = secret("hunter2");
    let (server, _heads) = serve(vec![answer("401 Unauthorized", "")]);
    let refused = Access {
        bearer_token_file: Some(file.clone()),
        ..access(&format!("http://{server}/metrics?token=hunter2"))
    };
    let error = format!("{:#}", get(refused).unwrap_err());
    assert!(error.contains("refuses the credentials"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let open = Access {
        bearer_token_file: Some(file),
        ..access("http://127.0.0.1:1/metrics")
    };
    let error = format!("{:#}", get(open).unwrap_err());
    assert!(
        error.contains("chmod 600") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn a_redirect_is_followed_within_the_origin_and_nowhere_else() {
    let to = |target: &str| {
        format!("HTTP/1.1 307 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n")
    };
    let (server, heads) = serve(vec![to("/metrics/"), answer("200 OK", "a 1\n")]);
    assert_eq!(
        get(access(&format!("http://{server}/metrics"))).unwrap(),
        "a 1\n"
    );
    let _ = heads.recv().unwrap();
    assert!(heads.recv().unwrap().1.starts_with("GET /metrics/ "));
    for elsewhere in [
        "http://192.0.2.1/metrics",
        "//192.0.2.1/metrics",
        "https://127.0.0.1/",
    ] {
        let (server, _heads) = serve(vec![to(elsewhere)]);
        let error = get(access(&format!("http://{server}/metrics"))).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("another address"), "{error}");
    }
    let (server, _heads) = serve(vec![to("/"); 9]);
    let error = get(access(&format!("http://{server}/"))).unwrap_err();
    assert!(format!("{error:#}").contains("more than 3 times"));
}

#[test]
fn a_page_above_the_cap_and_a_body_cut_off_are_errors() {
    let (server, _heads) = serve(vec![answer("200 OK", &"a 1\n".repeat(1000))]);
    let endpoint = Endpoint::new(access(&format!("http://{server}/m"))).unwrap();
    let mut feed = Feed::default();
    let error = endpoint
        .get(|page| feed.read(page, 1024, |_| {}).map(drop))
        .unwrap_err();
    assert!(
        format!("{error:#}").ends_with("the page is longer than 1 KiB"),
        "{error:#}"
    );
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n".to_owned();
    let (server, _heads) = serve(vec![cut, String::new()]);
    let short = Access {
        timeout: Duration::from_millis(300),
        ..access(&format!("http://{server}/m"))
    };
    assert!(get(short).is_err());
}

#[test]
fn certificates_that_are_none_are_named() {
    let (_dir, file) = secret("not a certificate");
    let with = Access {
        tls_ca: Some(file.clone()),
        ..access("https://127.0.0.1:1/")
    };
    let error = format!("{:#}", Endpoint::new(with).unwrap_err());
    assert!(
        error.contains("tls_ca") && error.contains("no certificate"),
        "{error}"
    );
}
