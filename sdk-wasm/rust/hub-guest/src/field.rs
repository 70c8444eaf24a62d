use crate::{ColumnType, Digits, Field};

impl Field {
    /// A column that may be null and is in no key.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self { name: name.into(), column_type, nullable: true, key: None }
    }

    /// Whole numbers from -2^63 to 2^63 - 1.
    pub fn signed(name: impl Into<String>) -> Self {
        Self::new(name, ColumnType::Signed)
    }

    /// Whole numbers from 0 to 2^64 - 1.
    pub fn unsigned(name: impl Into<String>) -> Self {
        Self::new(name, ColumnType::Unsigned)
    }

    /// Floats of 64 bits.
    pub fn float(name: impl Into<String>) -> Self {
        Self::new(name, ColumnType::Float)
    }

    /// True and false.
    pub fn boolean(name: impl Into<String>) -> Self {
        Self::new(name, ColumnType::Boolean)
    }

    /// Decimals: all digits, and those behind the point.
    pub fn decimal(name: impl Into<String>, precision: u8, scale: u8) -> Self {
        Self::new(name, ColumnType::Decimal(Digits { precision, scale }))
    }

    /// Text in UTF-8.
    pub fn text(name: impl Into<String>) -> Self {
        Self::new(name, ColumnType::Text)
    }

    /// Bytes.
    pub fn bytes(name: impl Into<String>) -> Self {
        Self::new(name, ColumnType::Bytes)
    }

    /// JSON text.
    pub fn json(name: impl Into<String>) -> Self {
        Self::new(name, ColumnType::Json)
    }

    /// The same column without nulls.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// The same column without nulls and in the key, at this place from 0.
    #[must_use]
    pub fn key(mut self, place: u32) -> Self {
        self.key = Some(place);
        self.not_null()
    }
}
