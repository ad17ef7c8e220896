//! Texts with variables, parsed once in `configure`.

use lockgate_plugin::Exchange;

/// A text with variables in braces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

#[derive(Debug, PartialEq, Eq)]
enum Variable {
    PrincipalId,
    PrincipalIssuer,
    Claim(String),
    Server,
    Method,
    Name,
    Purpose,
    Header(String),
}

const KNOWN: &str =
    "principal.id, principal.issuer, claim:/pointer, server, method, name, purpose, header:name";

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                literal.extend(from.chars().next());
                rest = after;
                continue;
            }
            let Some((name, after)) = from.strip_prefix('{').and_then(|open| open.split_once('}')) else {
                return Err(format!("a brace stands alone in `{text}`; write it twice to mean itself"));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            let variable = Variable::parse(name)
                .ok_or_else(|| format!("`{{{name}}}` is not a variable; there are {KNOWN}"))?;
            parts.push(Part::Variable(variable));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Template { parts })
    }

    /// The text, or the first variable that has no value. Asks the host for nothing but the variables
    /// in the text: what a hook reads decides how far its server can be shared.
    pub(crate) fn fill(&self, exchange: &Exchange) -> Result<String, String> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Variable(variable) => {
                    filled.push_str(&variable.value(exchange).ok_or_else(|| variable.name())?);
                }
            }
        }
        Ok(filled)
    }
}

impl Variable {
    fn parse(name: &str) -> Option<Variable> {
        Some(match name {
            "principal.id" => Variable::PrincipalId,
            "principal.issuer" => Variable::PrincipalIssuer,
            "server" => Variable::Server,
            "method" => Variable::Method,
            "name" => Variable::Name,
            "purpose" => Variable::Purpose,
            _ => match name.split_once(':')? {
                ("claim", pointer) if pointer.starts_with('/') => Variable::Claim(pointer.to_owned()),
                ("header", header) if !header.is_empty() => Variable::Header(header.to_owned()),
                _ => return None,
            },
        })
    }

    fn name(&self) -> String {
        match self {
            Variable::PrincipalId => "principal.id".to_owned(),
            Variable::PrincipalIssuer => "principal.issuer".to_owned(),
            Variable::Claim(pointer) => format!("claim:{pointer}"),
            Variable::Server => "server".to_owned(),
            Variable::Method => "method".to_owned(),
            Variable::Name => "name".to_owned(),
            Variable::Purpose => "purpose".to_owned(),
            Variable::Header(header) => format!("header:{header}"),
        }
    }

    fn value(&self, exchange: &Exchange) -> Option<String> {
        match self {
            Variable::PrincipalId => exchange.principal().map(|principal| principal.id()),
            Variable::PrincipalIssuer => exchange.principal().map(|principal| principal.issuer()),
            Variable::Claim(pointer) => {
                let principal = exchange.principal()?;
                // A claim that is not a string goes as its JSON: `true`, `42`.
                principal
                    .claim_text(pointer)
                    .or_else(|| principal.claim(pointer).filter(|json| json != "null"))
            }
            Variable::Server => Some(exchange.server()),
            Variable::Method => exchange.call().map(|call| call.method()),
            Variable::Name => exchange.call()?.name(),
            Variable::Purpose => Some(exchange.purpose()),
            Variable::Header(header) => exchange.call()?.header(header),
        }
    }
}
