//! What every dependency is shipped under, and where it comes from: `cargo metadata` against the lists here.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

use crate::sh;

/// All of these may be shipped with a program under MIT OR Apache-2.0.
const ALLOWED: [&str; 9] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// The kernel refuses some helpers to programs that are not GPL; this crate runs inside it, not in the daemon.
const GPL: (&str, &str) = ("ka-ebpf", "GPL-2.0");
/// One TLS stack at most, and none that links a system library.
const BANNED: [&str; 1] = ["openssl-sys"];
const REGISTRY: &str = "registry+";

/// The daemon runs on Linux alone: what crates need elsewhere is never built, and not shipped.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Checks every package that any feature of the workspace could build for Linux.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let output = sh::cargo(root, "metadata")
        .args(["--format-version", "1", "--locked", "--all-features"])
        .args(TARGETS.iter().flat_map(|target| ["--filter-platform", target]))
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata ended with {}", output.status);
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let faults: Vec<String> = packages.iter().filter_map(|package| fault(package).err()).collect();
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    sh::say(&format!("lint: {} packages are under licences that may be shipped", packages.len()));
    Ok(())
}

fn fault(package: &Value) -> Result<(), String> {
    let name = package["name"].as_str().unwrap_or("?");
    let told = |what: String| Err(format!("{name}: {what}"));
    if BANNED.contains(&name) {
        return told("is not wanted here".into());
    }
    match package["source"].as_str() {
        Some(source) if !source.starts_with(REGISTRY) => return told(format!("comes from {source}")),
        Some(_) | None => {}
    }
    let Some(licence) = package["license"].as_str() else { return told("names no licence".into()) };
    // Older packages write MIT/Apache-2.0 for either.
    let parsed = Expression::parse_mode(licence, ParseMode::LAX);
    match parsed {
        Err(error) => told(format!("licence {licence:?}: {}", error.reason)),
        Ok(expression) if expression.evaluate(|term| allowed(name, term)) => Ok(()),
        Ok(_) => told(format!("licence {licence:?} may not be shipped under MIT OR Apache-2.0")),
    }
}

fn allowed(name: &str, term: &LicenseReq) -> bool {
    let term = term.to_string();
    ALLOWED.contains(&term.as_str()) || (name, term.as_str()) == GPL
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(name: &str, licence: impl Into<Value>, source: &Value) -> String {
        fault(&json!({"name": name, "license": licence.into(), "source": source})).err().unwrap_or_default()
    }

    #[test]
    fn what_may_not_be_shipped_is_named() {
        let registry = json!("registry+https://example.org/index");
        for fine in
            ["MIT", "MIT/Apache-2.0", "GPL-2.0 OR MIT", "Apache-2.0 WITH LLVM-exception", "MIT AND ISC"]
        {
            assert_eq!(told("x", fine, &registry), "", "{fine}");
        }
        assert!(told("x", "GPL-2.0", &registry).contains("may not be shipped"));
        assert!(told("x", "MIT AND GPL-3.0-only", &registry).contains("may not be shipped"));
        assert!(told("x", "Apache-2.0 WITH x", &registry).starts_with("x: licence"));
        assert!(told("x", Value::Null, &registry).contains("names no licence"));
        assert!(told("x", "MIT", &json!("git+https://example.org/x")).contains("comes from git+"));
        assert!(told("openssl-sys", "MIT", &registry).contains("not wanted"));
        assert_eq!(told("ka-ebpf", "(MIT OR Apache-2.0) AND GPL-2.0", &Value::Null), "");
        assert!(told("other", "(MIT OR Apache-2.0) AND GPL-2.0", &Value::Null).contains("may not"));
    }
}
