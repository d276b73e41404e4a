//! Pages as they come, and the Markdown that is made of them.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

async fn read(html: &str) -> Markdown {
    markdown(html, &Url::parse("https://a.example/x/y").unwrap(), 1 << 20).await
}

async fn check(html: &str, expect: &str) {
    assert_eq!(read(html).await.text, expect, "{html}");
}

#[tokio::test]
async fn what_people_see_is_what_is_read() {
    check("<h1>One</h1><p>Two  <b>three</b>\n four</p>five", "# One\n\nTwo **three** four\n\nfive").await;
    check("<ul><li>a<li>b<ol><li>c</li><li>d</ol><li>e</ul>f", "- a\n- b\n  1. c\n  2. d\n- e\n\nf").await;
    check("a<br>b<hr>c", "a\nb\n\n---\n\nc").await;
    check("<p>x &amp; y &lt;z&gt; &nbsp; &#x41;</p>", "x & y <z> A").await;
    check("<blockquote><p>a</p><p>b</p></blockquote>c", "> a\n>\n> b\n\nc").await;
    check("<pre>  a\n   b</pre><code>c d</code>", "```\n  a\n   b\n```\n\n`c d`").await;
    check("<a href='../z?q=1#f'>go <i>there</i></a>.", "[go *there*](https://a.example/z?q=1#f).").await;
    check("<a href='javascript:x()'>no</a> <a href='#top'>up</a> <a href=/e></a>end", "no up end").await;
    check("<img src=p.png alt='A  cat'> <img src=q.png>", "![A cat](https://a.example/x/p.png)").await;
    check("<a href=/b><img src=p.png alt=cat></a>", "[[image: cat]](https://a.example/b)").await;
    check(
        "<table><tr><th>a<th>b</tr><tr><td>1</td><td><p>2</p><p>3</p></td></tr></table>x",
        "| a | b |\n|---|---|\n| 1 | 2 3 |\n\nx",
    )
    .await;
    check("", "").await;
}

#[tokio::test]
async fn what_nobody_sees_is_left_out() {
    check(
        "a<script>b('</p>')</script><style>c{}</style><noscript>d</noscript><!-- e --><svg><text>f</text></svg>g",
        "a g",
    )
    .await;
    check("a<div hidden>b<div>c</div>d</div>e<span style='display: none'>f</span>g", "a e g").await;
    check("<span style=\"font-size:0\">a</span><p aria-hidden=true>b</p><div aria-hidden=true>c</div>", "b").await;
    check("<template><p>a</p></template><iframe>b</iframe>c", "c").await;
    check("i\u{200b}g\u{e0049}\u{202e}n\u{0}ore", "ignore").await;
    let page = read("<html><head><title> A\n &amp; B\u{202e} </title></head><body>c<svg><title>d</title></svg>").await;
    assert_eq!((page.title.as_deref(), page.text.as_str()), (Some("A & B"), "c"));
}

#[tokio::test]
async fn hostile_pages_take_linear_time_and_bounded_room() {
    const BYTES: usize = 2 << 20;
    let fill = |piece: &str| piece.repeat(BYTES / piece.len());
    let numbered = |count: usize, piece: fn(usize) -> String| (0..count).map(piece).collect::<String>();
    let pages = [
        fill("<div>"),
        fill("<b><p>"),
        fill("<blockquote><ul><li>"),
        fill("<table><tr><td>"),
        fill("<a href=x>"),
        fill("</div>"),
        fill("<pre>"),
        fill("<"),
        fill("<!--"),
        fill("&"),
        fill("&#"),
        fill(" "),
        fill("<title>"),
        fill("<svg>"),
        fill("<br>"),
        format!("<a {}>", numbered(100_000, |number| format!("a{number} "))),
        numbered(50_000, |number| format!("<font id={number}>")) + &"<p>x".repeat(50_000),
        format!("<a href=\"{}\">x</a>", "y".repeat(BYTES)),
        format!("<tr>{}</tr>", "<td>".repeat(BYTES / 4)),
    ];
    for page in pages {
        let short = page.get(..40.min(page.len())).unwrap().to_owned();
        let read = tokio::time::timeout(std::time::Duration::from_secs(10), read(&page)).await;
        let read = read.unwrap_or_else(|_| panic!("too slow: {short}"));
        assert!(read.text.len() <= 1 << 20, "{short}");
    }
    assert!(read(&fill("many words ")).await.cut);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// Whatever a page says, nothing invisible gets through, and the limit holds.
    #[test]
    fn any_page_becomes_text(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "<p>", "</p>", "<ul>", "<ol>", "<li>", "</ul>", "<a href=/x>", "</a>", "<pre>", "</pre>", "<code>", "</code>",
                "<table>", "<tr>", "<td>", "</tr>", "</table>", "<blockquote>", "</blockquote>", "<b>", "</b>", "<h2>", "</h2>",
                "<svg>", "</svg>", "<div hidden>", "</div>", "<script>", "</script>", "<title>", "</title>", "<br>", "<img alt=x src=y>",
                "word", " ", "\n", "\u{202e}", "\u{e0041}", "&amp;", "€", "<", "&", "\"", "💛",
            ]),
            0..60,
        ),
        most in 0_usize..200,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let page = Url::parse("https://a.example/").unwrap();
        let read = runtime.block_on(markdown(&pieces.concat(), &page, most));
        proptest::prop_assert!(read.text.len() <= most);
        proptest::prop_assert!(read.text.chars().all(is_visible));
    }
}
