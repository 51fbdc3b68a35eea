//! A policy as it is written in YAML, and what is checked beyond its types. [`crate::config`] reads it.

use serde::Deserialize;
use serde::de::Deserializer;
use serde_saphyr::Spanned;

use ipnet::IpNet;

use super::matching::{Conditions, Networks, OwnerField, Ports};
use super::{POLICIES_MAX, Policies, Policy, Severity};
use crate::config::{Fault, check_name};
use crate::pattern::{self, Patterns};
use crate::view::parameter::{self, Network};

/// Texts, each with its place, and the place of the list.
type List = Option<Spanned<Vec<Spanned<String>>>>;

/// A policy as written. No field may be named `value`: see [`crate::config`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    name: Spanned<String>,
    idle_limit: Spanned<String>,
    #[serde(default)]
    severity: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "given")]
    remote: List,
    #[serde(default, deserialize_with = "given")]
    local: List,
    #[serde(default, deserialize_with = "given")]
    remote_ports: List,
    #[serde(default, deserialize_with = "given")]
    local_ports: List,
    #[serde(default, deserialize_with = "given")]
    namespace: List,
    #[serde(default, deserialize_with = "given")]
    pod: List,
    #[serde(default, deserialize_with = "given")]
    container: List,
    #[serde(default, deserialize_with = "given")]
    service: List,
    #[serde(default, deserialize_with = "given")]
    comm: List,
    #[serde(default)]
    sources: Option<Vec<String>>,
    #[serde(default)]
    read: Option<String>,
    #[serde(default)]
    note: Option<String>,
}

/// A list that is there. One without elements would, as nothing, mean every connection: whoever comments all of
/// them out did not mean that.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<List, D::Error> {
    Spanned::deserialize(deserializer).map(Some)
}

/// Checks a list of policies.
///
/// # Errors
/// The first fault, with its place.
pub(crate) fn check_all(specs: Vec<Spec>) -> Result<Policies, Fault> {
    let mut policies = Vec::with_capacity(specs.len());
    let mut names: Vec<Spanned<String>> = Vec::with_capacity(specs.len());
    for (index, spec) in specs.into_iter().enumerate() {
        let at = spec.name.referenced;
        if let Some(first) = names.iter().find(|name| name.value == spec.name.value) {
            let message = format!(
                "`{}` is the name of a policy at line {} already",
                first.value,
                first.referenced.line()
            );
            return Err(Fault { at, field: format!("[{index}].name"), message });
        }
        if index == POLICIES_MAX {
            let message =
                format!("there may be {POLICIES_MAX} policies at most; put what has the same limit into one");
            return Err(Fault { at, field: format!("[{index}]"), message });
        }
        names.push(spec.name.clone());
        let policy = spec.check();
        policies
            .push(policy.map_err(|fault| Fault { field: format!("[{index}].{}", fault.field), ..fault })?);
    }
    Ok(Policies::new(policies))
}

impl Spec {
    fn check(self) -> Result<Policy, Fault> {
        check_name(&self.name)?;
        let idle_limit = one("idle_limit", &self.idle_limit, |text| {
            parameter::idle_limit(text).map_err(|expected| format!("{text:?} is no idle limit: {expected}"))
        })?;
        let severity = self.severity.map(|written| one("severity", &written, severity)).transpose()?;
        let mut conditions = Conditions::default();
        let written = &mut conditions.written;
        conditions.remote = each("remote", self.remote, network, written)?.map(|all| Networks::new(&all));
        conditions.remote_ports = each("remote_ports", self.remote_ports, ports, written)?.map(Ports::new);
        conditions.local = each("local", self.local, network, written)?.map(|all| Networks::new(&all));
        conditions.local_ports = each("local_ports", self.local_ports, ports, written)?.map(Ports::new);
        for (field, name, list) in [
            (OwnerField::Namespace, "namespace", self.namespace),
            (OwnerField::Pod, "pod", self.pod),
            (OwnerField::Container, "container", self.container),
            (OwnerField::Service, "service", self.service),
            (OwnerField::Comm, "comm", self.comm),
        ] {
            let check = if field == OwnerField::Comm { process } else { owner };
            if let Some(names) = each(name, list, check, written)? {
                conditions.owner.push((field, Patterns::new(names.iter().map(String::as_str))));
            }
        }
        Ok(Policy {
            name: self.name.value.into(),
            idle_limit,
            severity: severity.unwrap_or_default(),
            conditions,
            sources: self.sources.unwrap_or_default(),
            read: self.read,
            note: self.note,
        })
    }
}

fn one<T>(
    field: &str,
    written: &Spanned<String>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, Fault> {
    parse(&written.value).map_err(|message| Fault {
        at: written.referenced,
        field: field.to_owned(),
        message,
    })
}

/// The elements of a list, where it is there; keeps it as it is written.
fn each<T>(
    field: &'static str,
    list: List,
    parse: impl Fn(&str) -> Result<T, String>,
    kept: &mut Vec<(&'static str, Vec<String>)>,
) -> Result<Option<Vec<T>>, Fault> {
    let Some(list) = list else { return Ok(None) };
    if list.value.is_empty() {
        let message = format!("nothing is in it; leave `{field}` out where it does not matter");
        return Err(Fault { at: list.referenced, field: field.to_owned(), message });
    }
    let parsed = list.value.iter().enumerate();
    let parsed = parsed.map(|(index, text)| one(&format!("{field}[{index}]"), text, &parse));
    let parsed = parsed.collect::<Result<_, _>>()?;
    kept.push((field, list.value.into_iter().map(|text| text.value).collect()));
    Ok(Some(parsed))
}

fn severity(text: &str) -> Result<Severity, String> {
    let found = Severity::ALL.into_iter().find(|severity| severity.label() == text);
    found.ok_or_else(|| format!("{text:?} is no severity: expected info, warning or critical"))
}

fn network(text: &str) -> Result<Network, String> {
    let network = text.parse().map_err(|expected| format!("{text:?} is no address: {expected}"))?;
    match text.parse::<IpNet>() {
        Ok(net) if net != net.trunc() => Err(format!(
            "{text:?} has bits set beyond its prefix: expected {} for the network, or {} for the address",
            net.trunc(),
            net.addr()
        )),
        Ok(_) | Err(_) => Ok(network),
    }
}

/// The first and the last of a range of ports; of one port it is both.
fn ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || {
        format!(
            "{text:?} is no port: expected a number from 1 to 65535, or a range of them such as 8000-8999"
        )
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| parameter::port(text.trim()).map_err(|_| wrong());
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("{text:?} is no range of ports: expected the smaller first, {last}-{first}"));
    }
    Ok((first, last))
}

fn owner(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("expected a name, or a glob such as `shop-*`".to_owned());
    }
    pattern::check(text).map(|()| text.to_owned())
}

fn process(text: &str) -> Result<String, String> {
    pattern::check_process(text).map(|()| text.to_owned())
}
