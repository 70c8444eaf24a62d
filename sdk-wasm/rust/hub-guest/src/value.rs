use crate::Value;

/// What a value of a row can be read as. Nothing is converted with loss: a value that does not fit is a failure.
pub trait FromValue: Sized {
    /// What the type is called in messages.
    const NAME: &str;

    /// The value; none when it is of another kind or does not fit.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! whole {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            const NAME: &str = stringify!($type);

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Signed(number) => Self::try_from(*number).ok(),
                    Value::Unsigned(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}

whole!(i32, i64, u32, u64);

impl FromValue for f64 {
    const NAME: &str = "f64";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }
}

impl FromValue for bool {
    const NAME: &str = "bool";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }
}

impl FromValue for String {
    const NAME: &str = "String";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) | Value::Decimal(text) | Value::Json(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    const NAME: &str = "Vec<u8>";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const NAME: &str = T::NAME;

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! into_value {
    ($($type:ty => $kind:ident),*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$kind(value.into())
            }
        }
    )*};
}

into_value!(
    bool => Boolean, i32 => Signed, i64 => Signed, u32 => Unsigned, u64 => Unsigned, f64 => Float, String => Text,
    &str => Text, Vec<u8> => Bytes
);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
