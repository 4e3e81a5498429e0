//! Reading JSON as its schema means it, where serde alone would take more and less: an object is not a list of its members' values,
//! one of several words is a word and not an object, and `20.0` is the whole number `20`.

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::Value;

/// The text as a `T`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Strict(&mut deserializer))?;
    deserializer.end()?;
    Ok(value)
}

/// The value as a `T`.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    T::deserialize(Strict(value))
}

/// What is read, or a part of it, with what it is read into.
struct Strict<T>(T);

/// The same where a whole number is wanted.
struct Whole<T>(T);

/// The same where one of several words is wanted.
struct Word<T>(T);

/// As it is.
macro_rules! forward {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Strict(visitor))
        })*
    };
}

/// Knowing that a whole number is wanted.
macro_rules! forward_whole {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Whole(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq
        deserialize_map deserialize_identifier deserialize_ignored_any
    }

    forward_whole! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, Strict(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Strict(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, Strict(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, Strict(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Strict(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_str(Word(visitor))
    }
}

/// What a part without parts is handed on as.
macro_rules! visit {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) visit_borrowed_str(&'de str)
        visit_string(String)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(variant)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Whole<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }

    visit! { visit_i64(i64) visit_u64(u64) }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<V::Value, E> {
        let whole = value as i64;
        // Above that, and below its negative, neighbours are more than one apart.
        if whole.unsigned_abs() < 1 << 53 && whole as f64 == value {
            self.0.visit_i64(whole)
        } else {
            self.0.visit_f64(value)
        }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Word<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<V::Value, E> {
        self.0.visit_enum(value.into_deserializer())
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::audit::EventOutcome;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        count: Option<u32>,
        outcome: EventOutcome,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        #[serde(default)]
        many: Vec<Inner>,
        level: i64,
        share: f64,
        #[serde(default)]
        free: Value,
    }

    fn check(value: &Value, expected: Result<Outer, &str>) {
        for read in [from_str::<Outer>(&value.to_string()), from_value::<Outer>(value.clone())] {
            match (read, &expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, *expected),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{value}: {error}")
                }
                (read, expected) => panic!("{value}: {read:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn json_is_read_as_its_schema_means_it() {
        let outer = |level| Outer { many: Vec::new(), level, share: 1.0, free: Value::Null };
        check(&json!({"level": 20, "share": 1}), Ok(outer(20)));
        check(&json!({"level": 20.0, "share": 1.0}), Ok(outer(20)));
        check(&json!({"level": -3.0, "share": 1.0}), Ok(outer(-3)));
        check(&json!({"level": 20.5, "share": 1}), Err("floating point `20.5`, expected i64"));
        check(&json!({"level": 1e300, "share": 1}), Err("expected i64"));
        check(&json!([[], 20, 1.0]), Err("expected struct Outer"));
        let many = |inner: Value| json!({"many": [inner], "level": 1, "share": 1, "free": [{"a": 1.0}]});
        let inner = |count| Outer {
            many: vec![Inner { count, outcome: EventOutcome::Success }],
            free: json!([{"a": 1.0}]),
            ..outer(1)
        };
        check(&many(json!({"count": 7.0, "outcome": "success"})), Ok(inner(Some(7))));
        check(&many(json!({"count": null, "outcome": "success"})), Ok(inner(None)));
        check(
            &many(json!({"count": -1.0, "outcome": "success"})),
            Err("invalid value: integer `-1`, expected u32"),
        );
        check(&many(json!({"outcome": {"success": null}})), Err("expected enum EventOutcome"));
        check(&many(json!({"outcome": "well"})), Err("unknown variant `well`"));
        check(&many(json!([7, "success"])), Err("expected struct Inner"));
    }
}
