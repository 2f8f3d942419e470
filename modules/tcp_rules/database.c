/*
 * database.c - see database.h.  Called by files.c (reading) and lookup.c (finding).
 *
 * tinycdb maps files.  A map of a file that somebody cuts short kills who reads it (SIGBUS), and may wait for
 * a disk; so the file is copied into a memory file first, and that one is mapped.  tinycdb checks
 * every position against the size; what it finds is checked once more here, when the file is read.
 */
#include <arpa/inet.h>
#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "database.h"

#define DB_MAX (256u << 20)

struct tcpr_db {
	atomic_uint refs;
	struct cdb cdb;
	size_t records;
	uint64_t prefixes[3];		/* bit i: a network of i bits */
};

/* --- what a record says --- */

static bool
take_set(struct ga_str text, struct tcpr_item *item)
{
	const char *equals = memchr(text.p, '=', text.n);

	item->what = TCPR_SET;
	if (equals == NULL)
		return false;
	item->name = (struct ga_str){ text.p, (size_t)(equals - text.p) };
	item->value = (struct ga_str){ equals + 1, text.n - item->name.n - 1 };
	return true;
}

bool
tcpr_item_next(struct ga_str *data, struct tcpr_item *item, bool *bad)
{
	const char *nul = data->n > 0 ? memchr(data->p, '\0', data->n) : NULL;
	struct ga_str text;

	*bad = data->n > 0 && (nul == NULL || nul == data->p);
	if (nul == NULL || nul == data->p)
		return false;
	text = (struct ga_str){ data->p + 1, (size_t)(nul - data->p) - 1 };
	switch (data->p[0]) {
	case 'D':
		item->what = TCPR_DENY;
		*bad = text.n > 0;
		break;
	case '+':
		*bad = !take_set(text, item);
		break;
	case '-':			/* as qmail-ldap's tcprules writes */
		item->what = TCPR_UNSET;
		item->name = text;
		break;
	default:
		*bad = true;
	}
	data->n -= (size_t)(nul - data->p) + 1;
	data->p = nul + 1;
	return !*bad;
}

/* --- reading --- */

/* A copy of fd's file in memory. */
static int
copy(int fd, const char **why)
{
	struct stat st;
	off_t at = 0;
	int mem;

	*why = strerror(EINVAL);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return -1;
	*why = strerror(EFBIG);
	if (st.st_size > (off_t)DB_MAX)
		return -1;
	mem = memfd_create("tcp_rules", MFD_CLOEXEC);
	while (mem >= 0 && at < st.st_size) {
		ssize_t n = sendfile(mem, fd, &at, (size_t)(st.st_size - at));

		if (n > 0)
			continue;
		close(mem);		/* an error, or it has become shorter */
		mem = -1;
		errno = n == 0 ? EIO : errno;
	}
	if (mem < 0)
		*why = strerror(errno);
	return mem;
}

static void
note_prefix(struct tcpr_db *db, struct ga_str key)
{
	const char *slash = key.n > 0 ? memchr(key.p, '/', key.n) : NULL;
	char number[4] = "", *end;
	unsigned long bits;
	size_t n;

	if (slash == NULL || memchr(key.p, ':', (size_t)(slash - key.p)) == NULL)
		return;
	n = key.n - (size_t)(slash - key.p) - 1;
	if (n == 0 || n >= sizeof number)
		return;
	memcpy(number, slash + 1, n);
	bits = strtoul(number, &end, 10);
	if (*end == '\0' && bits < 128)
		db->prefixes[bits / 64] |= UINT64_C(1) << bits % 64;
}

static const char *
wrong_record(struct tcpr_db *db, struct cdb *at)
{
	struct ga_str key = { cdb_getkey(at), cdb_keylen(at) }, data = { cdb_getdata(at), cdb_datalen(at) }, found;
	struct tcpr_item item;
	bool bad;

	if (key.p == NULL || data.p == NULL || !tcpr_db_find(db, key, &found))
		return "not a cdb, or a damaged one";
	while (tcpr_item_next(&data, &item, &bad))
		;
	if (bad)
		return "a cdb that holds other things than rules of tcprules";
	note_prefix(db, key);
	db->records++;
	return NULL;
}

static const char *
wrong(struct tcpr_db *db)
{
	struct cdb at = db->cdb;
	const char *why = NULL;
	unsigned next;
	int more;

	cdb_seqinit(&next, &at);
	while (why == NULL && (more = cdb_seqnext(&next, &at)) > 0)
		why = wrong_record(db, &at);
	return why != NULL || more == 0 ? why : "not a cdb, or a damaged one";
}

struct tcpr_db *
tcpr_db_of(int fd, const char **why)
{
	int mem = copy(fd, why);
	struct tcpr_db *db;

	if (mem < 0)
		return NULL;
	db = ga_xcalloc(1, sizeof *db);
	atomic_init(&db->refs, 1);
	if (cdb_init(&db->cdb, mem) != 0) {
		*why = "not a cdb, or a damaged one";
		free(db);
		db = NULL;
	}
	close(mem);			/* what is mapped stays */
	if (db == NULL || (*why = wrong(db)) == NULL)
		return db;
	tcpr_db_unref(db);
	return NULL;
}

struct tcpr_db *
tcpr_db_read(const char *path, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct tcpr_db *db;

	if (fd < 0) {
		*why = strerror(errno);
		return NULL;
	}
	db = tcpr_db_of(fd, why);
	close(fd);
	return db;
}

struct tcpr_db *
tcpr_db_ref(struct tcpr_db *db)
{
	atomic_fetch_add(&db->refs, 1);
	return db;
}

void
tcpr_db_unref(struct tcpr_db *db)
{
	if (db == NULL || atomic_fetch_sub(&db->refs, 1) != 1)
		return;
	cdb_free(&db->cdb);
	free(db);
}

/* --- finding --- */

size_t
tcpr_db_records(const struct tcpr_db *db)
{
	return db->records;
}

bool
tcpr_db_find(const struct tcpr_db *db, struct ga_str key, struct ga_str *data)
{
	struct cdb at = db->cdb;	/* where it was found is kept in it */

	if (cdb_find(&at, key.p, (unsigned)key.n) <= 0)
		return false;
	*data = (struct ga_str){ cdb_getdata(&at), cdb_datalen(&at) };
	return data->p != NULL;
}

bool
tcpr_db_has_prefix(const struct tcpr_db *db, unsigned bits)
{
	return bits < 128 && (db->prefixes[bits / 64] >> bits % 64 & 1) != 0;
}
