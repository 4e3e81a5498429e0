//! The wire format of protobuf: numbered items, one after the other.

/// The items of a message.
pub struct Reader<'a> {
    rest: &'a [u8],
    failed: bool,
}

/// One item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// A whole number, sign-extended to 64 bits.
    Integer(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Reader<'a> {
    /// The items in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, failed: false }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn integer(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is too long".to_owned())
    }

    fn item(&mut self) -> Result<(u64, Item<'a>), String> {
        let tag = self.integer()?;
        let item = match tag & 7 {
            0 => Item::Integer(self.integer()?),
            1 => Item::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default())),
            2 => {
                let length = usize::try_from(self.integer()?).map_err(|_| "a length is too large")?;
                Item::Bytes(self.take(length)?)
            }
            5 => Item::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default())),
            other => return Err(format!("there is no wire type {other}")),
        };
        Ok((tag >> 3, item))
    }
}

impl<'a> Iterator for Reader<'a> {
    /// Field number and item.
    type Item = Result<(u64, Item<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.failed {
            return None;
        }
        let item = self.item();
        self.failed = item.is_err();
        Some(item)
    }
}

impl<'a> Item<'a> {
    /// Bytes, or those of a message.
    pub fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err("a number is where a message should be".to_owned()),
        }
    }

    /// Text.
    pub fn text(self) -> Result<String, String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
    }

    /// A whole number.
    pub fn integer(self) -> Result<i64, String> {
        match self {
            Self::Integer(value) => Ok(value.cast_signed()),
            _ => Err("something else is where a number should be".to_owned()),
        }
    }

    /// A floating-point number.
    pub fn double(self) -> Result<f64, String> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Self::Fixed32(bits) => Ok(f64::from(f32::from_bits(bits))),
            _ => Err("something else is where a number should be".to_owned()),
        }
    }
}
