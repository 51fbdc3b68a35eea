//! Names the environment variable in the error about a value that came from one: clap tells the option alone,
//! which nobody typed.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, Error};
use clap::{Arg, Command};

/// The error, with the variable where the value came from one. `typed` is the command line, `is_set` tells
/// whether a variable stands in the environment.
pub(super) fn named(
    mut error: Error,
    mut command: Command,
    typed: &[OsString],
    is_set: impl Fn(&OsStr) -> bool,
) -> Error {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    command.build();
    let args = command.get_subcommands().chain([&command]).flat_map(Command::get_arguments);
    let variable = args
        .filter(|arg| arg.to_string() == *option && !is_typed(arg, typed))
        .find_map(|arg| arg.get_env().filter(|variable| is_set(variable)));
    if let Some(variable) = variable {
        let named = format!("environment variable {} ({option})", variable.display());
        error.insert(ContextKind::InvalidArg, ContextValue::String(named));
    }
    error
}

/// Whether an option stands on the command line, which then wins over its variable.
fn is_typed(arg: &Arg, typed: &[OsString]) -> bool {
    let Some(long) = arg.get_long() else { return false };
    let is_long = |word: &str| {
        let rest = word.strip_prefix("--").and_then(|word| word.strip_prefix(long));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    typed.iter().any(|word| word.to_str().is_some_and(is_long))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(typed: &[&str], variable: &str) -> String {
        let command = Command::new("ka").subcommand(
            Command::new("run")
                .arg(Arg::new("n").long("max-n").env("KA_N").value_name("N").value_parser(["1", "2"]))
                .arg(Arg::new("m").long("max").env("KA_M").value_name("M").value_parser(["1", "2"])),
        );
        let typed: Vec<OsString> = ["ka", "run"].iter().chain(typed).map(OsString::from).collect();
        // A variable is set in all but name: the test must not change its own environment.
        let parsed = command.clone().mut_args(|arg| arg.env(None::<&str>));
        let error = parsed.try_get_matches_from(typed.clone()).unwrap_err();
        let error = named(error, command, &typed[..2.max(typed.len() - 2)], |name| name == variable);
        error.to_string().lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_value_that_was_not_typed_is_the_variables() {
        assert_eq!(
            told(&["--max-n", "x"], "KA_N"),
            "error: invalid value 'x' for 'environment variable KA_N (--max-n <N>)'"
        );
        assert_eq!(told(&["--max-n", "x"], "KA_M"), "error: invalid value 'x' for '--max-n <N>'");
    }

    #[test]
    fn a_value_that_was_typed_is_the_options() {
        let typed = [&["--max-n", "x", "--max", "1"][..], &["--max-n=x", "--max", "1"]];
        for typed in typed {
            assert_eq!(told(typed, "KA_N"), "error: invalid value 'x' for '--max-n <N>'");
        }
        assert_eq!(
            told(&["--max-n=1", "--max", "x"], "KA_M"),
            "error: invalid value 'x' for 'environment variable KA_M (--max <M>)'",
            "another option begins with its name"
        );
    }

    #[test]
    fn other_errors_stay() {
        assert!(told(&["--nothing", "x"], "KA_N").contains("unexpected argument '--nothing'"));
    }
}
