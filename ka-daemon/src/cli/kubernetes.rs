//! Options of the Kubernetes API as a source of names.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::owner::KubeOptions;

/// What [`BoolishValueParser`] takes as yes, in the usual spellings: where another option depends on it, clap
/// compares the word itself.
const TRUE: [&str; 14] =
    ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "1", "t", "T", "y", "Y"];

/// Options of the Kubernetes API.
#[derive(Clone, Debug, Args)]
pub struct KubernetesArgs {
    /// Take names of pods and containers from the Kubernetes API too, where kubelet's log files in /var/log do
    /// not tell them.
    #[arg(long, env = "KA_KUBERNETES", value_parser = BoolishValueParser::new())]
    kubernetes: bool,
    /// This node's name in Kubernetes: its pods are watched.
    #[arg(
        long = "kubernetes.node",
        env = "NODE_NAME",
        value_name = "NAME",
        required_if_eq_any(TRUE.map(|word| ("kubernetes", word)))
    )]
    node: Option<String>,
    /// How to reach the API server [default: the service account of the pod that the daemon runs in].
    #[arg(long = "kubernetes.kubeconfig", env = "KA_KUBERNETES_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl KubernetesArgs {
    /// The options in force; none where the API is not to be asked.
    #[must_use]
    pub fn options(&self) -> Option<KubeOptions> {
        let node = self.node.clone().filter(|_| self.kubernetes)?;
        Some(KubeOptions { node, kubeconfig: self.kubeconfig.clone() })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: KubernetesArgs,
    }

    fn options(args: &[&str]) -> Result<Option<KubeOptions>, String> {
        // The test may itself run in a pod, or in a CI system that sets NODE_NAME.
        let command = <Cli as clap::CommandFactory>::command().mut_args(|arg| arg.env(None::<&str>));
        let matches = command.try_get_matches_from([&["ka"], args].concat());
        let cli = matches.and_then(|matches| <Cli as clap::FromArgMatches>::from_arg_matches(&matches));
        cli.map(|cli| cli.args.options()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_api_is_asked_only_where_that_was_said_and_the_node_is_known() {
        assert_eq!(options(&[]), Ok(None));
        assert_eq!(options(&["--kubernetes.node", "a"]), Ok(None), "NODE_NAME may stand there for others");
        assert!(options(&["--kubernetes"]).unwrap_err().contains("--kubernetes.node <NAME>"));
        let expected = |kubeconfig: Option<&str>| {
            Ok(Some(KubeOptions { node: "a".to_owned(), kubeconfig: kubeconfig.map(PathBuf::from) }))
        };
        assert_eq!(options(&["--kubernetes", "--kubernetes.node=a"]), expected(None));
        let all = ["--kubernetes", "--kubernetes.node=a", "--kubernetes.kubeconfig=/k"];
        assert_eq!(options(&all), expected(Some("/k")));
    }
}
