/*
 * users.c - reading smtp_users, and finding a user.
 *
 * Called by access.c when a configuration is read or checked, on the main thread, main
 * loop or in the process of greenarrow_config validate; looked up by sessions on their
 * loops.  Owns the text of the file, wiped when the last reference goes.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <gnutls/crypto.h>
#include <uthash.h>

#include <greenarrow/injection.h>

#include "password.h"

/* A hundred thousand users are ten megabytes. */
#define USERS_FILE_MAX (64u << 20)

struct entry {
	struct smtpd_user user;
	struct smtpd_scram_keys keys;
	bool locked;
	struct entry *next;		/* in the order of the file */
	UT_hash_handle hh;
};

struct smtpd_users {
	atomic_uint refs;
	char *text;
	size_t size;
	struct entry *by_name, *first, **last;
	/* those that a password is checked with, and of them those with keys */
	struct entry **usable, **scram;
	uint32_t nusable, nscram;
	uint32_t seed;			/* of the choice of decoys */
};

/* The file being read. */
struct reading {
	struct smtpd_users *users;
	smtpd_fault_fn *fault;
	void *arg;
	unsigned line;
};

/* --- words --- */

bool
smtpd_user_name_valid(struct ga_str s)
{
	if (s.n == 0 || s.n > SMTPD_USER_NAME_MAX || s.p[0] == '#' || s.p[0] == ' ' ||
	    s.p[s.n - 1] == ' ')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 127 || s.p[i] == ':')
			return false;
	return true;
}

/* --- lines --- */

static void
tell(const struct reading *r, size_t column, bool error, const char *message)
{
	r->fault(r->arg, r->line, (unsigned)column + 1, error, message);
}

/* The hash of a line, which ends in a NUL where the colon or the line end was. */
static bool
take_hash(const struct reading *r, struct entry *e, struct ga_str hash, size_t column)
{
	const char *fault;
	bool weak = false;

	if (hash.n == 0) {
		tell(r, column, false, "no password hash: this user cannot log in");
		e->locked = true;
		return true;
	}
	if (hash.p[0] == '!' || hash.p[0] == '*') {
		e->locked = true;
		return true;
	}
	if (ga_str_starts(hash, GA_STR("{SCRAM-SHA-256}"))) {
		if (!smtpd_scram_parse(hash, &e->keys)) {
			tell(r, column, true,
			    "not {SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey in base64");
			return false;
		}
		e->user.scram = &e->keys;
		return true;
	}
	fault = smtpd_crypt_fault(hash.p, &weak);
	if (fault != NULL) {
		tell(r, column, true, fault);
		return false;
	}
	if (weak)
		tell(r, column, false, "an old or cheap password hash; yescrypt or SCRAM is better");
	e->user.crypted = hash.p;
	return true;
}

static bool
take_class(const struct reading *r, struct entry *e, struct ga_str class, size_t column)
{
	e->user.mail_class = class;
	if (ga_mail_class_valid(class))
		return true;
	tell(r, column, true, "a mail class is 2 to 64 letters and _, without __");
	return false;
}

static bool
take_fields(const struct reading *r, struct entry *e, char *line, size_t n)
{
	char *hash = memchr(line, ':', n), *class;
	size_t at;

	if (hash == NULL) {
		tell(r, n, true, "`:` and a password hash are missing");
		return false;
	}
	at = (size_t)(hash - line) + 1;
	e->user.name = (struct ga_str){ line, at - 1 };
	if (!smtpd_user_name_valid(e->user.name)) {
		tell(r, 0, true, "a name has 1 to 255 octets, no colon, no control character");
		return false;
	}
	*hash++ = '\0';
	class = memchr(hash, ':', n - at);
	if (class == NULL)
		return take_hash(r, e, (struct ga_str){ hash, n - at }, at);
	*class++ = '\0';
	return take_hash(r, e, (struct ga_str){ hash, (size_t)(class - 1 - hash) }, at) &&
	    take_class(r, e, (struct ga_str){ class, n - (size_t)(class - line) },
	    (size_t)(class - line));
}

static void
add(const struct reading *r, struct entry *e)
{
	struct smtpd_users *u = r->users;
	struct entry *same;

	HASH_FIND(hh, u->by_name, e->user.name.p, e->user.name.n, same);
	if (same != NULL) {
		tell(r, 0, true, "this user is in the file already");
		free(e);
		return;
	}
	HASH_ADD_KEYPTR(hh, u->by_name, e->user.name.p, e->user.name.n, e);
	*u->last = e;
	u->last = &e->next;
	if (e->locked)
		return;
	u->nusable++;
	u->nscram += e->user.scram != NULL;
}

/* line[n] is a NUL where the line end was. */
static void
take_line(const struct reading *r, char *line, size_t n)
{
	struct entry *e;

	if (n > 0 && line[n - 1] == '\r')
		line[--n] = '\0';
	if (strspn(line, " \t") == n || line[0] == '#')
		return;
	if (memchr(line, '\0', n) != NULL) {
		tell(r, strlen(line), true, "a NUL octet");
		return;
	}
	e = ga_xcalloc(1, sizeof *e);
	if (take_fields(r, e, line, n))
		add(r, e);
	else
		free(e);
}

static void
take_lines(struct reading *r)
{
	struct smtpd_users *u = r->users;
	char *p = u->text, *end = u->text + u->size;

	while (p < end) {
		char *lf = memchr(p, '\n', (size_t)(end - p));

		if (lf == NULL)
			lf = end;
		*lf = '\0';
		r->line++;
		take_line(r, p, (size_t)(lf - p));
		p = lf + 1;
	}
}

static void
make_lists(struct smtpd_users *u)
{
	uint32_t usable = 0, scram = 0;

	u->usable = ga_xcalloc(u->nusable, sizeof *u->usable);
	u->scram = ga_xcalloc(u->nscram, sizeof *u->scram);
	for (struct entry *e = u->first; e != NULL; e = e->next) {
		if (e->locked)
			continue;
		u->usable[usable++] = e;
		if (e->user.scram != NULL)
			u->scram[scram++] = e;
	}
}

/* --- the file --- */

struct smtpd_users *
smtpd_users_read(const char *path, smtpd_fault_fn *fault, void *arg, int *error)
{
	struct smtpd_file f = smtpd_file_read(path, USERS_FILE_MAX);
	struct reading r = { .fault = fault, .arg = arg };
	struct smtpd_users *u;

	*error = f.error;
	if (f.text == NULL)
		return NULL;
	u = ga_xcalloc(1, sizeof *u);
	atomic_init(&u->refs, 1);
	u->last = &u->first;
	u->text = f.text;
	u->size = f.size;
	if (gnutls_rnd(GNUTLS_RND_NONCE, &u->seed, sizeof u->seed) < 0)
		u->seed = (uint32_t)(uintptr_t)u;
	r.users = u;
	if ((f.mode & S_IROTH) != 0)
		fault(arg, 0, 0, false, "everybody on this machine can read it");
	take_lines(&r);
	make_lists(u);
	return u;
}

struct smtpd_users *
smtpd_users_ref(struct smtpd_users *u)
{
	atomic_fetch_add(&u->refs, 1);
	return u;
}

void
smtpd_users_unref(struct smtpd_users *u)
{
	struct entry *e, *next;

	if (u == NULL || atomic_fetch_sub(&u->refs, 1) != 1)
		return;
	HASH_CLEAR(hh, u->by_name);
	for (e = u->first; e != NULL; e = next) {
		next = e->next;
		explicit_bzero(e, sizeof *e);
		free(e);
	}
	explicit_bzero(u->text, u->size);
	free(u->text);
	free(u->usable);
	free(u->scram);
	free(u);
}

/* --- finding --- */

const struct smtpd_user *
smtpd_users_find(const struct smtpd_users *u, struct ga_str name)
{
	struct entry *e;

	HASH_FIND(hh, u->by_name, name.p, name.n, e);
	return e != NULL && !e->locked ? &e->user : NULL;
}

const struct smtpd_user *
smtpd_users_decoy(const struct smtpd_users *u, struct ga_str name)
{
	uint32_t h = (ga_str_hash(name, false) ^ u->seed) * 0x9e3779b1u;

	h ^= h >> 15;
	return u->nusable > 0 ? &u->usable[h % u->nusable]->user : NULL;
}

/* Made with what only we know, and what a restart does not change. */
bool
smtpd_users_fake_keys(const struct smtpd_users *u, struct ga_str name, struct smtpd_scram_keys *k)
{
	const struct smtpd_scram_keys *secret = &u->scram[0]->keys;
	unsigned char mac[64];		/* a salt and a choice */
	uint32_t pick;

	if (gnutls_hmac_fast(GNUTLS_MAC_SHA512, secret->stored_key, sizeof secret->stored_key,
	    name.p, name.n, mac) < 0 ||
	    gnutls_rnd(GNUTLS_RND_NONCE, k->stored_key, sizeof k->stored_key) < 0 ||
	    gnutls_rnd(GNUTLS_RND_NONCE, k->server_key, sizeof k->server_key) < 0)
		return false;
	memcpy(&pick, mac + 60, sizeof pick);
	k->iterations = u->scram[pick % u->nscram]->keys.iterations;
	k->nsalt = u->scram[pick % u->nscram]->keys.nsalt;
	memcpy(k->salt, mac, k->nsalt);
	return true;
}

bool
smtpd_users_have_scram(const struct smtpd_users *u)
{
	return u->nscram > 0;
}
