/*
 * crc32c.h - CRC-32C (Castagnoli), the checksum of every record.
 *
 * Any thread.  Start with 0 and feed the result back in to go on.
 */
#ifndef SPOOL_CRC32C_H
#define SPOOL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t spool_crc32c(uint32_t crc, const void *, size_t);
/* The portable way, whatever the processor can do: for tests. */
uint32_t spool_crc32c_portable(uint32_t crc, const void *, size_t);

#endif
