//! Names and certificates as the server sees them: domains that lead elsewhere, certificates that
//! failed or end soon.

use super::{Finding, asked};
use crate::limits;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use std::path::Path;

pub(super) async fn look(admin_socket: &Path) -> Vec<Finding> {
    match asked(admin_socket, "/internal/names").await {
        Ok((200, Value::Array(names))) => judged(&names, Utc::now()),
        // Only root may ask.
        _ => Vec::new(),
    }
}

fn judged(names: &[Value], now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in names {
        let text = |field: &str| name[field].as_str();
        let hostname = text("hostname").unwrap_or_default();
        let app = text("app").map(|app| format!(" -a {app}")).unwrap_or_default();
        if let Some(words) = text("dns") {
            let mend = "change its DNS record at whoever keeps the domain";
            findings.push(Finding::warn("domain", words, mend));
        }
        if let Some(reason) = text("reason") {
            let message = format!("there is no new one for {hostname}: {reason}");
            let mend = format!("mend what it says, then: senryu certs:auto:refresh{app}");
            findings.push(Finding::warn("certificate", message, &mend));
        }
        if name["has_no_room"] == true {
            let megabytes = limits::CERTIFICATES_BYTES / (1024 * 1024);
            let message = format!(
                "that of {hostname} is not served: all apps' together have more than {megabytes} MB"
            );
            let mend = "remove what nobody needs: senryu certs, certs:remove; or use wildcards";
            findings.push(Finding::fail("certificate", message, mend));
        }
        let ends = text("expires_at").and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        findings.extend(ends.and_then(|ends| ending(hostname, ends.to_utc(), now, &app)));
    }
    if findings.is_empty() && !names.is_empty() {
        let count = names.len();
        findings.push(Finding::ok(
            "domains",
            format!("{count} names; none leads elsewhere, no certificate fails or ends soon"),
        ));
    }
    findings
}

fn ending(hostname: &str, ends: DateTime<Utc>, now: DateTime<Utc>, app: &str) -> Option<Finding> {
    let mend = format!("renew it: senryu certs:update CRT KEY{app}");
    let at = ends.to_rfc3339_opts(SecondsFormat::Secs, true);
    if ends <= now {
        let message = format!("that of {hostname} ended at {at}");
        return Some(Finding::fail("certificate", message, &mend));
    }
    let days = (ends - now).num_days();
    let message = format!("that of {hostname} ends in {days} days, at {at}");
    (days < limits::DOCTOR_CERTIFICATE_DAYS).then(|| Finding::warn("certificate", message, &mend))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;
    use serde_json::json;

    #[test]
    fn names_that_lead_elsewhere_and_certificates_that_end_are_found() {
        let now = DateTime::parse_from_rfc3339("2026-11-21T00:00:00Z").unwrap().to_utc();
        let fine = json!({ "hostname": "a.example.com", "expires_at": "2027-01-01T00:00:00Z" });
        let [only] = judged(std::slice::from_ref(&fine), now).try_into().unwrap();
        assert_eq!((only.level, only.what), (Level::Ok, "domains"));
        assert!(judged(&[], now).is_empty());
        let names = [
            fine,
            json!({ "hostname": "b.example.com", "dns": "b.example.com leads to 203.0.113.9" }),
            json!({ "hostname": "c.example.com", "app": "shop", "reason": "not today" }),
            json!({ "hostname": "d.example.com", "expires_at": "2026-11-25T00:00:00Z" }),
            json!({ "hostname": "e.example.com", "expires_at": "2026-11-20T00:00:00Z" }),
            json!({ "hostname": "f.example.com", "has_no_room": true }),
        ];
        let found = judged(&names, now);
        let shown: Vec<_> = found.iter().map(|f| (f.level, f.what, f.message.as_str())).collect();
        assert_eq!(
            shown,
            [
                (Level::Warn, "domain", "b.example.com leads to 203.0.113.9"),
                (Level::Warn, "certificate", "there is no new one for c.example.com: not today"),
                (
                    Level::Warn,
                    "certificate",
                    "that of d.example.com ends in 4 days, at 2026-11-25T00:00:00Z"
                ),
                (Level::Fail, "certificate", "that of e.example.com ended at 2026-11-20T00:00:00Z"),
                (
                    Level::Fail,
                    "certificate",
                    "that of f.example.com is not served: all apps' together have more than 16 MB"
                ),
            ]
        );
        let mend = found[1].mend.as_deref().unwrap();
        assert!(mend.ends_with("senryu certs:auto:refresh -a shop"), "{mend}");
    }
}
