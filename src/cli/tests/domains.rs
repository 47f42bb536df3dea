//! Domains: listed with what DNS says, added, waited for and cleared.

use super::*;

#[tokio::test]
async fn domains_are_listed_added_and_cleared() {
    let stage = Stage::new(|asked, _| {
        let custom = |id: &str, name: &str| {
            json!({"id": id, "kind": "custom", "hostname": name, "cname": "shop.paas.example.org",
                "app": {"id": "a", "name": "shop"}, "sni_endpoint": null, "status": "none"})
        };
        match asked.line().as_str() {
            "GET /apps/shop/domains" | "GET /apps/shop/domains?dns" => {
                let mut wrong = custom("1", "*.example.net");
                wrong["dns_status"] = json!("failing");
                wrong["dns_status_reason"] = json!("it leads to 203.0.113.9");
                ok(json!([
                    {"id": "0", "kind": "heroku", "hostname": "shop.paas.example.org"},
                    custom("2", "www.example.com"),
                    wrong,
                ]))
            }
            "GET /apps/shop/domains/www.example.com"
            | "GET /apps/shop/domains/www.example.com?dns" => ok(custom("2", "www.example.com")),
            "POST /apps/shop/domains" => Reply::Json(201, custom("3", "example.org")),
            "DELETE /apps/shop/domains/www.example.com" => ok(custom("2", "www.example.com")),
            "DELETE /apps/shop/domains/%2A.example.net" => ok(custom("1", "*.example.net")),
            _ => missing(),
        }
    })
    .await;
    let done = stage.run(&["domains", "-a", "shop"]).await;
    let (head, rows) = done.out.split_once("=== shop Custom Domains\n\n").unwrap();
    assert_eq!(head, "=== shop Heroku Domain\n\nshop.paas.example.org\n\n");
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[2], ["*.example.net", "CNAME", "shop.paas.example.org"]);
    assert_eq!(rows[3], ["www.example.com", "CNAME", "shop.paas.example.org"]);
    assert_eq!(done.err, " ›   Warning: it leads to 203.0.113.9\n");

    let flags = ["--sort", "domain_name", "--filter", "Domain Name=www", "--columns", "DNS Target"];
    let done = stage.run(&[&["domains", "--csv", "-x", "-a", "shop"][..], &flags].concat()).await;
    assert_eq!(done.out, "DNS Target\nshop.paas.example.org\n");
    let done = stage.run(&["domains", "--sort", "size", "-a", "shop"]).await;
    assert!(done.status == 2 && done.err.contains("There is no column size"), "{}", done.err);
    let done = stage.run(&["domains:add", "example.org", "-a", "shop", "--wait"]).await;
    assert_eq!(done.status, 0, "{}", done.err);
    assert!(done.err.starts_with("Adding example.org to ⬢ shop... done\n"), "{}", done.err);
    assert!(done.out.contains("DNS Target shop.paas.example.org."), "{}", done.out);
    assert!(done.out.contains("ALIAS"), "{}", done.out);
    let body = stage.last("POST /apps/shop/domains").body;
    assert_eq!(body, json!({"hostname": "example.org", "sni_endpoint": null}));

    let done = stage.run(&["domains:info", "www.example.com", "-a", "shop"]).await;
    assert!(done.out.contains("app:      shop\n"), "{}", done.out);
    assert_eq!(stage.run(&["domains:wait", "www.example.com", "-a", "shop"]).await.status, 0);
    assert_eq!(stage.run(&["domains:clear", "-a", "shop"]).await.status, 0);
    stage.last("DELETE /apps/shop/domains/%2A.example.net");
    stage.last("DELETE /apps/shop/domains/www.example.com");
    assert_eq!(stage.run(&["domains:remove", "nobody.example", "-a", "shop"]).await.status, 1);
}
