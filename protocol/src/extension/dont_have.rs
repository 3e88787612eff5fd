use bytes::Bytes;

use super::ExtensionError;

/// A piece is here no more: the reverse of HAVE, `lt_donthave`. BEP 54.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DontHave {
    /// Which piece, from 0.
    pub piece: u32,
}

impl DontHave {
    /// The payload: the piece alone, as it stands in a HAVE.
    pub fn encode(self) -> Bytes {
        Bytes::copy_from_slice(&self.piece.to_be_bytes())
    }

    /// Reads a payload. Whether there is such a piece is for the caller to see.
    pub fn decode(payload: &[u8]) -> Result<DontHave, ExtensionError> {
        let bytes = payload.try_into();
        let bytes = bytes.map_err(|_| ExtensionError::DontHaveLength { got: payload.len() })?;
        Ok(DontHave { piece: u32::from_be_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_piece_in_four_bytes_and_nothing_else() {
        let message = DontHave { piece: 0x0102_0304 };
        assert_eq!(&message.encode()[..], [1, 2, 3, 4]);
        assert_eq!(DontHave::decode(&[1, 2, 3, 4]), Ok(message));
        for payload in [&[][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
            let error = ExtensionError::DontHaveLength { got: payload.len() };
            assert_eq!(DontHave::decode(payload), Err(error));
        }
    }
}
