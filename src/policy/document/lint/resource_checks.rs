//! Checks of the resources of a statement.

use super::super::resource_pattern::ResourcePattern;
use super::super::text_pattern::{PatternSubject, TextPattern};
use super::super::{PolicyStatement, StatementEffect};
use super::document_warning::DocumentWarning;
use super::known_action::ResourceKinds;

/// Adds the warnings about resources.
pub(super) fn check(statement: &PolicyStatement, warnings: &mut Vec<DocumentWarning>) {
    for resource in &statement.resources {
        let ResourcePattern::Oss { relative, .. } = resource else { continue };
        let text = relative.as_str();
        let literal = relative.literal();
        let key = literal.split_once('/').map(|(_, key)| key);
        let is_literal = literal.len() == text.len();
        if is_literal && key == Some("") {
            warnings.push(DocumentWarning::EmptyKey(text.to_owned()));
        } else if is_literal && key.is_some_and(|key| key.ends_with('/')) {
            warnings.push(DocumentWarning::FolderAlone(text.to_owned()));
        }
        if statement.effect == StatementEffect::Deny {
            continue;
        }
        if key.is_none() && !is_literal && text != "*" {
            warnings.push(DocumentWarning::CrossingWildcard(text.to_owned()));
        }
        let is_prefix = text.len() == literal.len() + 1 && text.ends_with('*');
        if is_prefix && key.is_some_and(|key| !key.is_empty() && !key.ends_with('/')) {
            warnings.push(DocumentWarning::OpenPrefix(text.to_owned(), literal.to_owned()));
        }
    }
}

/// Returns the kinds of resources that a statement may match.
pub(super) fn kinds(statement: &PolicyStatement) -> ResourceKinds {
    statement.resources.iter().map(kinds_of).fold(ResourceKinds::NONE, ResourceKinds::or)
}

fn kinds_of(resource: &ResourcePattern) -> ResourceKinds {
    let relative = match resource {
        ResourcePattern::Any => return ResourceKinds::ALL,
        ResourcePattern::Other => return ResourceKinds::NONE,
        ResourcePattern::Oss { relative, .. } => relative,
    };
    let text = relative.as_str();
    let has_wildcard = relative.literal().len() < text.len();
    let has_key = match text.split_once('/') {
        Some((bucket, key)) => !key.is_empty() || bucket.contains(['*', '?']),
        // A wildcard also matches slashes.
        None => has_wildcard,
    };
    ResourceKinds::SERVICE
        .only_if(relative.matches(PatternSubject::text("*")))
        .or(ResourceKinds::POOL.only_if(is_of_pools(relative)))
        .or(ResourceKinds::BUCKET.only_if(!text.contains('/')))
        .or(ResourceKinds::OBJECT.only_if(has_key))
}

/// Returns whether the pattern may match `resourcepool/NAME`.
fn is_of_pools(relative: &TextPattern) -> bool {
    relative.meets_tree(PatternSubject::joined("resourcepool", ""))
}

/// Returns whether `wider` matches all that `resource` matches.
pub(super) fn includes(wider: &ResourcePattern, resource: &ResourcePattern) -> bool {
    let is_everything = |pattern: &ResourcePattern| match pattern {
        ResourcePattern::Any => true,
        ResourcePattern::Oss { region, relative } => region.as_str() == "*" && relative.as_str() == "*",
        ResourcePattern::Other => false,
    };
    match (wider, resource) {
        // No request is about a resource of another service.
        (_, ResourcePattern::Other) => true,
        (wider, _) if is_everything(wider) => true,
        (
            ResourcePattern::Oss { region, relative },
            ResourcePattern::Oss { region: of_region, relative: of_resource },
        ) => region.includes(of_region) && relative.includes(of_resource),
        _ => false,
    }
}
