use abi_stable::StableAbi;

/// The length of a C `ArrowArray` in 64-bit words (Arrow C data interface).
pub const ARRAY_WORDS: usize = 10;
/// The length of a C `ArrowSchema` in 64-bit words.
pub const SCHEMA_WORDS: usize = 9;

/// Where the release callback lies in each struct, in words.
const ARRAY_RELEASE: usize = 8;
const SCHEMA_RELEASE: usize = 7;

/// An Arrow C Data array and schema, either of which may be absent.
///
/// Opaque on purpose: host and plugin may use different versions of the arrow crates, and need only agree on the
/// C structs. Whatever is not taken is released on drop, by the callback of the side that made it.
#[repr(C)]
#[derive(StableAbi)]
pub struct Rows {
    #[sabi(unsafe_opaque_field)]
    array: [u64; ARRAY_WORDS],
    #[sabi(unsafe_opaque_field)]
    schema: [u64; SCHEMA_WORDS],
}

impl Rows {
    /// Neither rows nor a schema.
    pub const fn none() -> Self {
        Self { array: [0; ARRAY_WORDS], schema: [0; SCHEMA_WORDS] }
    }

    /// Wraps the words of a C `ArrowArray` and of a C `ArrowSchema`; all zero means absent.
    ///
    /// # Safety
    /// Each must be a valid, owned struct of the Arrow C data interface, or all zero.
    pub unsafe fn from_words(array: [u64; ARRAY_WORDS], schema: [u64; SCHEMA_WORDS]) -> Self {
        Self { array, schema }
    }

    /// Takes the array out, leaving it absent. The caller owns it, release callback included.
    pub fn take_array(&mut self) -> Option<[u64; ARRAY_WORDS]> {
        (self.array[ARRAY_RELEASE] != 0).then(|| std::mem::replace(&mut self.array, [0; ARRAY_WORDS]))
    }

    /// Takes the schema out, leaving it absent. The caller owns it, release callback included.
    pub fn take_schema(&mut self) -> Option<[u64; SCHEMA_WORDS]> {
        (self.schema[SCHEMA_RELEASE] != 0).then(|| std::mem::replace(&mut self.schema, [0; SCHEMA_WORDS]))
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        release(&mut self.array, ARRAY_RELEASE);
        release(&mut self.schema, SCHEMA_RELEASE);
    }
}

fn release<const N: usize>(words: &mut [u64; N], callback: usize) {
    if words[callback] == 0 {
        return;
    }
    // SAFETY: `from_words` takes only valid structs, in which this word is the address of a release callback that
    // takes a pointer to the struct; it runs once, because the struct is cleared right after.
    unsafe {
        let callback: unsafe extern "C" fn(*mut u64) = std::mem::transmute(words[callback] as usize);
        callback(words.as_mut_ptr());
    }
    *words = [0; N];
}

// SAFETY: the Arrow C data interface lets a struct be moved to and released on another thread.
unsafe impl Send for Rows {}
