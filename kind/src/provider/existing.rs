//! A cluster that exists: one context of a kubeconfig, copied alone into the cluster's own file.

use std::fs;
use std::path::Path;

use kube::config::Kubeconfig;

use super::ClusterError;
use crate::UpPlan;
use crate::state::Recorded;

/// Takes over the context; the original kubeconfig is only read.
pub(super) fn up(
    file: &Path,
    context: Option<&str>,
    plan: &UpPlan,
    fingerprint: &str,
) -> Result<Recorded, ClusterError> {
    let failed = |message: String, hint: Option<String>| ClusterError::Kubeconfig {
        file: file.to_path_buf(),
        message,
        hint,
    };
    let whole = Kubeconfig::read_from(file)
        .map_err(|error| failed(error.to_string(), Some("set KUBECONFIG to the file to use".to_owned())))?;
    let name = context.map(str::to_owned).or_else(|| whole.current_context.clone());
    let name = name.ok_or_else(|| {
        failed(
            "it has no current context".to_owned(),
            Some("name one: `--provider existing:<context>`".to_owned()),
        )
    })?;
    let known: Vec<String> = whole.contexts.iter().map(|context| context.name.clone()).collect();
    let (only, server) = minify(whole, &name).ok_or_else(|| {
        failed(format!("it has no context `{name}`"), Some(format!("known are: {}", known.join(", "))))
    })?;
    let kubeconfig = plan.directory.join("kubeconfig");
    let text = serde_saphyr::to_string(&only).map_err(|error| failed(error.to_string(), None))?;
    fs::write(&kubeconfig, text).map_err(|source| ClusterError::File {
        doing: "write",
        file: kubeconfig.clone(),
        source,
    })?;
    Ok(Recorded {
        name,
        provider: plan.provider.clone(),
        kubeconfig,
        server,
        node_architecture: String::new(),
        process: None,
        lifetime: plan.lifetime,
        mirrors: plan.mirrors.clone(),
        fingerprint: fingerprint.to_owned(),
    })
}

/// The kubeconfig with nothing but one context, its cluster and its user; and the cluster's URL.
fn minify(mut whole: Kubeconfig, name: &str) -> Option<(Kubeconfig, String)> {
    let context = whole.contexts.iter().find(|context| context.name == name)?.context.clone()?;
    whole.contexts.retain(|each| each.name == name);
    whole.clusters.retain(|each| each.name == context.cluster);
    whole.auth_infos.retain(|each| Some(&each.name) == context.user.as_ref());
    whole.current_context = Some(name.to_owned());
    let server = whole.clusters.first()?.cluster.as_ref()?.server.clone()?;
    Some((whole, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- {name: a, context: {cluster: ca, user: ua}}\n- {name: b, context: {cluster: cb, user: ub}}\nclusters:\n- {name: ca, cluster: {server: 'https://a:6443'}}\n- {name: cb, cluster: {server: 'https://b:6443'}}\nusers:\n- {name: ua, user: {token: secret-a}}\n- {name: ub, user: {token: secret-b}}\n";

    #[test]
    fn only_the_chosen_context_is_copied_with_its_credentials() {
        let (only, server) = minify(Kubeconfig::from_yaml(TWO).unwrap(), "b").unwrap();
        assert_eq!(server, "https://b:6443");
        let text = serde_saphyr::to_string(&only).unwrap();
        let again = Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!((again.contexts.len(), again.clusters.len(), again.auth_infos.len()), (1, 1, 1));
        assert!(text.contains("secret-b") && !text.contains("secret-a"), "{text}");
    }

    #[test]
    fn an_unknown_context_is_not_found() {
        assert!(minify(Kubeconfig::from_yaml(TWO).unwrap(), "c").is_none());
    }
}
