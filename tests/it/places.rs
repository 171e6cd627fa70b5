//! The selection of the STS endpoint: the nearest, as shown by `explain`, and never an unintended
//! one.

use std::fs;

use oss_signing_proxy::emulator::issuer::CredentialIssuer;

use crate::support::{ID, KEY, SECRET, ask, oss, proxy, run};

const ROLE: &str = "acs:ram::1234567890123456:role/logs";

#[test]
fn two_roles_ask_each_their_own_sts() {
    let oss = oss();
    let [first, second] = [(); 2].map(|()| {
        let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
        sts.role(ROLE, None);
        sts
    });
    let role = |sts: &CredentialIssuer| {
        format!(
            "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{ROLE}\"\nsts_endpoint = \"http://{}\"",
            sts.address
        )
    };
    let sections = format!(
        "[credentials.other]\n{}\n[credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\n\
         access_key_secret = \"{SECRET}\"\n[[route]]\nmatch = {{ bucket = \"files\" }}\ncredentials = \"other\"",
        role(&second)
    );
    let proxy = proxy(oss.address).credentials(&role(&first)).sections(&sections).start();
    for path in ["/photos/k", "/files/k"] {
        assert_eq!(ask(proxy.address, "PUT", path, b"v").status, 200, "{path}");
    }
    assert_eq!((first.calls().len(), second.calls().len()), (1, 1));
}

/// Returns the output of `explain` for a pod without a token file, so that no request is sent.
fn explained(upstream: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[upstream]\n{upstream}\n[credentials.default]\ntype = \"oidc\"\nrole_arn = \"{ROLE}\"\n\
         oidc_provider_arn = \"acs:ram::1:oidc-provider/ack\"\ntoken_file = \"/nowhere/token\""
    );
    fs::write(&file, text).expect("written");
    let (code, out, errors) =
        run(&["explain", "--config", file.path().to_str().expect("a path")], environment);
    (code, format!("{out}{errors}"))
}

#[test]
fn an_internal_upstream_has_sts_asked_inside_the_vpc() {
    let region = "region = \"cn-shenzhen\"";
    let of_sts = "ALIBABA_CLOUD_STS_ENDPOINT";
    for (upstream, environment, expected) in [
        (region.to_owned(), vec![], "STS at https://sts.cn-shenzhen.aliyuncs.com (the upstream's region)"),
        (format!("{region}\ninternal = true"), vec![], "STS at https://sts-vpc.cn-shenzhen.aliyuncs.com"),
        (
            "endpoint = \"https://oss-cn-shenzhen-internal.aliyuncs.com\"".to_owned(),
            vec![],
            "STS at https://sts-vpc.cn-shenzhen.aliyuncs.com (the upstream's region)",
        ),
        (
            region.to_owned(),
            vec![("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")],
            "STS at https://sts-vpc.cn-shenzhen.aliyuncs.com",
        ),
        (
            region.to_owned(),
            vec![("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou-finance")],
            "STS at https://sts.aliyuncs.com (ALIBABA_CLOUD_STS_REGION)",
        ),
        (
            region.to_owned(),
            vec![("ALIBABA_CLOUD_STS_REGION", "cn-qingdao"), (of_sts, "sts.example.internal")],
            "STS at https://sts.example.internal (ALIBABA_CLOUD_STS_ENDPOINT)",
        ),
    ] {
        let (code, text) = explained(&upstream, &environment);
        assert_eq!(code, Some(77), "{text}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn sts_inside_the_vpc_without_a_region_ends_the_start() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[upstream]\nendpoint = \"http://127.0.0.1:9\"\nsignature = \"v1\"\n\
                [[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"off\"";
    fs::write(&file, text).expect("written");
    let path = file.path().to_str().expect("a path");
    let environment =
        [&KEY[..], &[("OSS_STS_ROLE_ARN", ROLE), ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")]].concat();
    for command in [&["check"][..], &["serve"], &["explain"]] {
        let (code, out, errors) = run(&[command, &["--config", path]].concat(), &environment);
        assert_eq!(code, Some(78), "{command:?}: {out}{errors}");
        assert!(
            errors.contains("sts_region") && errors.contains("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"),
            "{errors}"
        );
    }
}
