/*
 * database.h - one database of access rules, as tcprules(1) writes it: a cdb, in memory.
 *
 * A copy of the file: what is done to the file, or to the disk below it, is of no
 * matter to those who look things up.  Immutable, with an atomic count of references; any thread.
 */
#ifndef TCPR_DATABASE_H
#define TCPR_DATABASE_H

#include <greenarrow/ga_mem.h>

struct tcpr_db;

/*
 * Reads the file, with one reference for the caller, and checks all of it: that it is a cdb, that each record
 * is found where it is looked for, and says what rules say.  Blocks.  NULL: *why is a constant or strerror's.
 */
struct tcpr_db *tcpr_db_read(const char *path, const char **why) GA_NODISCARD;
/* The same of a file that is open; it may be closed then. */
struct tcpr_db *tcpr_db_of(int fd, const char **why) GA_NODISCARD;
struct tcpr_db *tcpr_db_ref(struct tcpr_db *);
void tcpr_db_unref(struct tcpr_db *);		/* NULL: nothing */

size_t tcpr_db_records(const struct tcpr_db *);
/* The first record of that key; data lives as long as the database. */
bool tcpr_db_find(const struct tcpr_db *, struct ga_str key, struct ga_str *data);
/* Is there an IPv6 network with that many bits? */
bool tcpr_db_has_prefix(const struct tcpr_db *, unsigned bits);

/* What a record says, piece by piece. */
struct tcpr_item {
	enum { TCPR_DENY, TCPR_SET, TCPR_UNSET } what;
	struct ga_str name, value;
};
/* Takes the next one off data; false: there is none, or (*bad) it is not known. */
bool tcpr_item_next(struct ga_str *data, struct tcpr_item *, bool *bad);

#endif
