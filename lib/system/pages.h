#pragma once
#include <cstdint>

// Memory straight from the system, and what the system is told about it. The one place for such advice.
// All of it is a wish: where a kernel, file system or setting does not know it, everything works in
// ordinary pages. docs/ARCHITECTURE.md has what each is worth.
namespace glint {

// Zeroed memory, resident only where touched. Null if there is none. 4096-byte aligned; from 2 MiB on in
// huge pages (2 MiB each, and aligned so) where the system gives such to ordinary programs.
uint8_t* ReservePages(uint64_t bytes);
// Zeroed memory of which little is to be touched: ordinary pages, and more than the machine has is
// granted where the system's settings allow. Null if there is none. ReleasePages gives it back.
uint8_t* ReserveSparse(uint64_t bytes);
void ReleasePages(uint8_t* data, uint64_t bytes);
// From now on a write into this memory, which begins on a page, is a fault.
void ForbidWriting(uint8_t* data, uint64_t bytes);

// Reads a part of a map of a file into memory and enters it in the page table. Returns when that is
// done, or where the system cannot do so, when reading has been asked for. Changes and throws nothing.
void ReadInPages(const void* data, uint64_t bytes);

// Bytes of this process in memory that no file backs; 0 if unknown.
uint64_t PrivateMemory();

// Bytes of memory that the machine has; 0 if unknown.
uint64_t MachineMemory();

}  // namespace glint
