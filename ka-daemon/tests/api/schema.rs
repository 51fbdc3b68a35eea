//! Checks a value against a schema of the API's document. Knows the keywords that occur there and
//! panics at any other, so that nothing goes unchecked.

use serde_json::Value;

/// What is wrong with a value; nothing where it fits.
pub(crate) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut checker = Checker { document, faults: Vec::new() };
    checker.check(schema, value, "$", &[]);
    checker.faults
}

struct Checker<'a> {
    document: &'a Value,
    faults: Vec<String>,
}

impl<'a> Checker<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema.get("$ref") else { return schema };
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        self.document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// `elsewhere`: members that the other parts of an `allOf` know.
    fn check(&mut self, schema: &'a Value, value: &Value, at: &str, elsewhere: &[&str]) {
        for (keyword, argument) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "$ref" => self.check(self.resolve(schema), value, at, elsewhere),
                "type" => {
                    let types = argument.as_array().map_or(std::slice::from_ref(argument), Vec::as_slice);
                    if !types.iter().any(|name| is(value, name.as_str().unwrap())) {
                        self.faults.push(format!("{at}: {value} is not {argument}"));
                    }
                }
                "properties" => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        match argument.get(name) {
                            Some(schema) => self.check(schema, member, &format!("{at}.{name}"), &[]),
                            None if elsewhere.contains(&name.as_str()) => {}
                            None => self.faults.push(format!("{at}.{name} is not in the schema")),
                        }
                    }
                }
                "required" => {
                    let names = argument.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                    let missing = names.filter(|name| value.is_object() && value.get(name).is_none());
                    self.faults.extend(missing.map(|name| format!("{at}.{name} is missing")));
                }
                "additionalProperties" => {
                    assert!(schema.get("properties").is_none(), "{at}: both kinds of members");
                    for (name, member) in value.as_object().into_iter().flatten() {
                        self.check(argument, member, &format!("{at}.{name}"), &[]);
                    }
                }
                "items" => {
                    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(argument, item, &format!("{at}[{place}]"), &[]);
                    }
                }
                "enum" => {
                    if !argument.as_array().unwrap().contains(value) {
                        self.faults.push(format!("{at}: {value} is none of {argument}"));
                    }
                }
                "minimum" => {
                    if value.as_f64().is_some_and(|number| number < argument.as_f64().unwrap()) {
                        self.faults.push(format!("{at}: {value} is below {argument}"));
                    }
                }
                "oneOf" => {
                    let fits = argument.as_array().unwrap().iter().filter(|schema| {
                        let mut part = Self { document: self.document, faults: Vec::new() };
                        part.check(schema, value, at, &[]);
                        part.faults.is_empty()
                    });
                    let count = fits.count();
                    if count != 1 {
                        self.faults.push(format!("{at}: {value} fits {count} of {argument}"));
                    }
                }
                "allOf" => {
                    let parts = argument.as_array().unwrap();
                    let members = |part: &'a Value| {
                        let properties = self.resolve(part).get("properties").and_then(Value::as_object);
                        properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect::<Vec<_>>()
                    };
                    let members: Vec<_> = parts.iter().map(members).collect::<Vec<_>>().concat();
                    for part in parts {
                        self.check(part, value, at, &members);
                    }
                }
                // These say nothing that a value could break.
                "description" | "format" | "example" | "default" | "propertyNames" => {}
                other => panic!("{at}: a keyword that is not checked: {other}"),
            }
        }
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no such type: {other}"),
    }
}
