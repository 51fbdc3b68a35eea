//! Writes BTF for tests, type by type.

/// BTF under construction; types are numbered from 1 in the order in which they are added.
#[derive(Default)]
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Builder {
    fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// A type of any kind, by the numbers of `include/uapi/linux/btf.h`.
    pub(crate) fn add(&mut self, name: &str, info: u32, size_or_type: u32, trailer: &[u32]) -> u32 {
        let name = self.string(name);
        for word in [name, info, size_or_type].iter().chain(trailer) {
            self.types.extend(word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(crate) fn int(&mut self, bytes: u32) -> u32 {
        self.add("int", 1 << 24, bytes, &[bytes * 8])
    }

    pub(crate) fn ptr(&mut self) -> u32 {
        self.add("", 2 << 24, 0, &[])
    }

    /// A struct (kind 4) or union (5); members are name, type, place.
    pub(crate) fn composite(
        &mut self,
        kind: u32,
        flag: bool,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let mut trailer = Vec::new();
        for (name, ty, place) in members {
            trailer.extend([self.string(name), *ty, *place]);
        }
        let count = u32::try_from(members.len()).unwrap();
        self.add(name, kind << 24 | count | u32::from(flag) << 31, size, &trailer)
    }

    /// A struct without bit fields; offsets in bytes.
    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let members: Vec<_> = members.iter().map(|(name, ty, at)| (*name, *ty, at * 8)).collect();
        self.composite(4, false, name, size, &members)
    }

    /// An enum (kind 6) or enum64 (19) with one enumerator.
    pub(crate) fn enumeration(&mut self, signed: bool, name: &str, value: &[u32]) -> u32 {
        let kind = if value.len() == 2 { 19 } else { 6 };
        let mut trailer = vec![self.string(name)];
        trailer.extend(value);
        self.add("", kind << 24 | 1 | u32::from(signed) << 31, 4, &trailer)
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.string("");
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let mut file = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, len(&self.types), len(&self.types), len(&self.strings)] {
            file.extend(u32::to_le_bytes(word));
        }
        file.extend(self.types);
        file.extend(self.strings);
        file
    }
}
