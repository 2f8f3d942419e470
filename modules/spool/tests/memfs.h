/*
 * memfs.h - a file system in memory that loses power, fails and writes short.
 *
 * Every file and directory has two states: what a program sees, and what is on
 * the disk.  fdatasync and fsync of a directory copy the one to the other; a
 * power cut keeps the disk, and of the rest as much as the test wants.
 */
#ifndef SPOOL_TESTS_MEMFS_H
#define SPOOL_TESTS_MEMFS_H

#include "../fs.h"

#define MEMFS_SPOOL 1			/* directory descriptors */
#define MEMFS_CORRUPT 2

enum memfs_cut {
	CUT_SYNCED,			/* nothing but what was synced survives */
	CUT_ALL,			/* everything that was written survives */
	CUT_RANDOM,			/* blocks, sizes and names by chance */
	CUT_MODES
};

struct memfs;
struct memfs *memfs_new(void);
void memfs_free(struct memfs *);
void memfs_ops(struct memfs *, struct spool_fs *);

/* Operations that change something, so far. */
unsigned memfs_count(const struct memfs *);
/* The nth from now (1: the next) fails: error > 0 that errno, once; 0: the power goes,
 * and every later one fails. n 0: never. */
void memfs_fail_at(struct memfs *, unsigned n, int error);
bool memfs_is_dead(const struct memfs *);
/* Every sync, or every allocation, fails with this until it is 0 again. */
void memfs_fail_syncs(struct memfs *, int error);
void memfs_fail_room(struct memfs *, int error);
void memfs_short_writes(struct memfs *, size_t most);	/* 0: off */
void memfs_set_free(struct memfs *, uint64_t bytes);
void memfs_advance(struct memfs *, uint64_t us);
/* Descriptors are closed, the power is back. */
void memfs_cut_power(struct memfs *, enum memfs_cut, unsigned seed);

/* Files in a directory with this suffix; their octets (both states at once). */
unsigned memfs_list(struct memfs *, int dir, const char *suffix, char names[][32], unsigned max);
unsigned char *memfs_data(struct memfs *, int dir, const char *name, size_t *n);
void memfs_set(struct memfs *, int dir, const char *name, const void *, size_t);
void memfs_remove(struct memfs *, int dir, const char *name);
struct memfs *memfs_clone(const struct memfs *);

#endif
