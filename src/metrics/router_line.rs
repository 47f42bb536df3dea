//! What a router line says in figures. Everything behind its last `dyno=` is the router's own
//! writing, and no client's.

/// Of one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Empty where no dyno got it.
    pub dyno: &'a str,
    pub status: u16,
    /// How long the dyno took.
    pub millis: Option<u64>,
}

/// `None` for lines that are about no request.
pub fn parse(line: &str) -> Option<Request<'_>> {
    let (_, facts) = line.rsplit_once(" dyno=")?;
    let (dyno, facts) = facts.split_once(' ')?;
    let mut request = Request { dyno, status: 0, millis: None };
    for fact in facts.split(' ') {
        match fact.split_once('=') {
            Some(("status", status)) => request.status = status.parse().ok()?,
            Some(("service", took)) => {
                request.millis = took.strip_suffix("ms").and_then(|took| took.parse().ok());
            }
            _ => {}
        }
    }
    (request.status >= 100).then_some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_routers_and_never_a_paths() {
        let line = "at=info method=GET path=\"/x dyno=web.9 connect=0ms service=1ms status=500\" \
                    host=shop.localhost request_id=1 fwd=\"1.2.3.4\" dyno=web.1 connect=0ms \
                    service=12ms status=200 bytes=5 protocol=http1.1 tls=false";
        assert_eq!(parse(line), Some(Request { dyno: "web.1", status: 200, millis: Some(12) }));
        let line = "at=error code=H10 desc=\"App crashed\" method=GET path=\"/\" host=h \
                    request_id=1 fwd=\"1.2.3.4\" dyno= connect= service= status=503 bytes= \
                    protocol=http1.1 tls=false";
        assert_eq!(parse(line), Some(Request { dyno: "", status: 503, millis: None }));
        assert_eq!(parse("lost 4 lines"), None);
        assert_eq!(parse("x dyno=web.1 status=abc"), None);
    }
}
