// SPDX-License-Identifier: MIT OR Apache-2.0
//! The segments of an ELF file as a UEFI application.
//!
//! PE32+ as in the UEFI specification 2.10, section 2.1.1, without relocations.

use object::pe;
use object::write::pe::{NtHeaders, SectionRange, Writer};
use object::{File, Object, ObjectSegment, ObjectSymbol, Permissions};

/// The function of the kernel that the firmware calls.
const ENTRY: &str = "efi_entry";
/// Where an image may begin.
const IMAGE_ALIGNMENT: u64 = 0x1_0000;
/// Where a page begins, in memory.
const SECTION_ALIGNMENT: u32 = 0x1000;
/// Where a sector begins, in the file.
const FILE_ALIGNMENT: u32 = 0x200;
/// As many as every linker writes; all of them stay empty.
const DATA_DIRECTORIES: usize = 16;

/// A segment on its way from one file to the other.
struct Section<'data> {
    data: &'data [u8],
    range: SectionRange,
}

/// Returns the UEFI application for the kernel's ELF file, or what is wrong with that.
pub fn application(elf: &[u8]) -> Result<Vec<u8>, String> {
    let elf = File::parse(elf).map_err(|error| error.to_string())?;
    let entry = elf
        .symbol_by_name(ENTRY)
        .ok_or_else(|| format!("it has no symbol {ENTRY}"))?;
    let mut segments: Vec<_> = elf.segments().filter(|part| part.size() > 0).collect();
    segments.sort_by_key(ObjectSegment::address);
    // The headers are loaded too, as the page before the first segment.
    let base = segments
        .first()
        .and_then(|first| first.address().checked_sub(SECTION_ALIGNMENT.into()))
        .ok_or("no page is free before its first segment")?;
    if base % IMAGE_ALIGNMENT != 0 {
        return Err(format!(
            "the page before its first segment, {base:#x}, is not at a multiple of 64 KiB"
        ));
    }
    let relative = |address: u64| {
        let offset = address.checked_sub(base).map(u32::try_from);
        match offset {
            Some(Ok(offset)) => Ok(offset),
            _ => Err(format!("{address:#x} is too far from its start, {base:#x}")),
        }
    };

    let mut file = Vec::new();
    let mut writer = Writer::new(true, SECTION_ALIGNMENT, FILE_ALIGNMENT, &mut file);
    writer.reserve_dos_header();
    writer.reserve_nt_headers(DATA_DIRECTORIES);
    let count = u16::try_from(segments.len()).map_err(|_| "it has too many segments")?;
    writer.reserve_section_headers(count);
    let mut sections = Vec::new();
    for segment in &segments {
        let start = relative(segment.address())?;
        if start % SECTION_ALIGNMENT != 0 || start < writer.virtual_len() {
            let address = segment.address();
            return Err(format!(
                "its segment at {address:#x} has no pages of its own"
            ));
        }
        let end = relative(segment.address().saturating_add(segment.size()))?;
        let data = segment.data().map_err(|error| error.to_string())?;
        writer.reserve_virtual_until(start);
        let (name, characteristics) = kind(segment.permissions());
        let size = data.len() as u32;
        let range = writer.reserve_section(name, characteristics, end - start, size);
        sections.push(Section { data, range });
    }

    writer
        .write_empty_dos_header()
        .map_err(|error| error.to_string())?;
    writer.write_nt_headers(headers(base, relative(entry.address())?));
    writer.write_section_headers();
    for section in sections {
        writer.write_section(section.range.file_offset, section.data);
    }
    Ok(file)
}

/// Returns the name and the flags of a section with these permissions.
fn kind(permissions: Permissions) -> ([u8; 8], pe::SectionFlags) {
    if permissions.executable() {
        let flags = pe::IMAGE_SCN_CNT_CODE | pe::IMAGE_SCN_MEM_EXECUTE;
        (*b".text\0\0\0", flags | pe::IMAGE_SCN_MEM_READ)
    } else if permissions.writable() {
        let flags = pe::IMAGE_SCN_CNT_INITIALIZED_DATA | pe::IMAGE_SCN_MEM_WRITE;
        (*b".data\0\0\0", flags | pe::IMAGE_SCN_MEM_READ)
    } else {
        let flags = pe::IMAGE_SCN_CNT_INITIALIZED_DATA;
        (*b".rodata\0", flags | pe::IMAGE_SCN_MEM_READ)
    }
}

fn headers(image_base: u64, address_of_entry_point: u32) -> NtHeaders {
    NtHeaders {
        machine: pe::IMAGE_FILE_MACHINE_AMD64,
        // No time: the same kernel gives the same file.
        time_date_stamp: 0,
        // Without relocations the firmware must load it at `image_base` or not at all.
        characteristics: pe::IMAGE_FILE_RELOCS_STRIPPED
            | pe::IMAGE_FILE_EXECUTABLE_IMAGE
            | pe::IMAGE_FILE_LARGE_ADDRESS_AWARE,
        major_linker_version: 0,
        minor_linker_version: 0,
        address_of_entry_point,
        image_base,
        major_operating_system_version: 0,
        minor_operating_system_version: 0,
        major_image_version: 0,
        minor_image_version: 0,
        major_subsystem_version: 0,
        minor_subsystem_version: 0,
        subsystem: pe::IMAGE_SUBSYSTEM_EFI_APPLICATION,
        // Nothing is both written and executed, so the firmware may protect the sections.
        dll_characteristics: pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
        // The firmware has a stack of its own.
        size_of_stack_reserve: 0,
        size_of_stack_commit: 0,
        size_of_heap_reserve: 0,
        size_of_heap_commit: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::pe::PeFile64;
    use object::write::elf::{FileHeader, ProgramHeader, Sym, Writer as ElfWriter};
    use object::{elf, Endianness};

    const BASE: u64 = 0x10_0000;
    const CODE: &[u8] = &[0xcc; 0x20];
    const DATA: &[u8] = b"variables";
    const DATA_MEMORY: u64 = 0x3000;

    /// Returns an ELF file with code at `start` and, a page further, variables.
    fn elf(symbol: &str, start: u64) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = ElfWriter::new(Endianness::Little, true, &mut file);
        writer.reserve_file_header();
        writer.reserve_program_headers(2);
        let code = writer.reserve(CODE.len() as u64, 1);
        let data = writer.reserve(DATA.len() as u64, 1);
        let name = writer.add_string(symbol.as_bytes());
        writer.reserve_null_symbol_index();
        writer.reserve_symbol_index(None);
        writer.reserve_symtab_section_index();
        writer.reserve_strtab_section_index();
        writer.reserve_shstrtab_section_index();
        writer.reserve_symtab();
        writer.reserve_strtab().unwrap();
        writer.reserve_shstrtab().unwrap();
        writer.reserve_section_headers();
        writer
            .write_file_header(&FileHeader {
                os_abi: elf::ELFOSABI_NONE,
                abi_version: 0,
                e_type: elf::ET_EXEC,
                e_machine: elf::EM_X86_64,
                e_entry: 0,
                e_flags: Default::default(),
            })
            .unwrap();
        writer.write_align_program_headers();
        for (p_flags, offset, p_vaddr, len, p_memsz) in [
            (elf::PF_R | elf::PF_X, code, start, CODE.len(), 0x20),
            (
                elf::PF_R | elf::PF_W,
                data,
                start + 0x1000,
                DATA.len(),
                DATA_MEMORY,
            ),
        ] {
            writer.write_program_header(&ProgramHeader {
                p_type: elf::PT_LOAD,
                p_flags,
                p_offset: offset,
                p_vaddr,
                p_paddr: p_vaddr,
                p_filesz: len as u64,
                p_memsz,
                p_align: 0x1000,
            });
        }
        writer.write(CODE);
        writer.write(DATA);
        writer.write_null_symbol();
        let st_name = writer.string_offset(Some(name));
        writer.write_symbol(&Sym {
            st_name,
            section: None,
            st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_FUNC),
            st_other: elf::SymbolOther(0),
            st_shndx: elf::SHN_ABS,
            st_value: start + 8,
            st_size: 0,
        });
        writer.write_strtab();
        writer.write_shstrtab();
        writer.write_null_section_header();
        writer.write_symtab_section_header(1);
        writer.write_strtab_section_header();
        writer.write_shstrtab_section_header();
        file
    }

    #[test]
    fn segments_keep_their_addresses_bytes_and_permissions() {
        let file = application(&elf(ENTRY, BASE + 0x1000)).unwrap();
        let file = PeFile64::parse(&*file).unwrap();
        assert_eq!(file.relative_address_base(), BASE);
        assert_eq!(file.entry(), BASE + 0x1008);
        let [code, data] = &file.segments().collect::<Vec<_>>()[..] else {
            panic!("two segments become two sections");
        };
        assert_eq!(
            (code.address(), data.address()),
            (BASE + 0x1000, BASE + 0x2000)
        );
        assert!(code.data().unwrap().starts_with(CODE));
        assert!(data.data().unwrap().starts_with(DATA));
        assert_eq!(data.size(), DATA_MEMORY);
        assert!(code.permissions().executable() && !code.permissions().writable());
        assert!(data.permissions().writable() && !data.permissions().executable());
    }

    #[test]
    fn what_cannot_be_an_application_is_said() {
        let problem = application(&elf("main", BASE + 0x1000)).unwrap_err();
        assert!(problem.contains(ENTRY), "{problem}");
        let problem = application(&elf(ENTRY, BASE)).unwrap_err();
        assert!(problem.contains("0xff000"), "{problem}");
        let problem = application(&elf(ENTRY, BASE + 0x1010)).unwrap_err();
        assert!(problem.contains("0x100010"), "{problem}");
        let problem = application(&elf(ENTRY, 0)).unwrap_err();
        assert!(problem.contains("first segment"), "{problem}");
        assert!(application(b"text").is_err());
    }
}
