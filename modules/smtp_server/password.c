/*
 * password.c - hashes of crypt(5), and the keys of SCRAM-SHA-256.
 *
 * Called on helper threads (cmd_auth.c) and by the command smtp_user; parsing also
 * when smtp_users is read.  Owns nothing.  Everything made of a password is wiped.
 */
#include <crypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#ifdef HAVE_GSASL
#include <gsasl.h>
#endif

#include "base64.h"
#include "password.h"

#define KEY 32u			/* octets of SHA-256 */

/* --- the text --- */

/* Up to the next comma, which is eaten. */
static struct ga_str
next_field(struct ga_str *rest)
{
	const char *comma = memchr(rest->p, ',', rest->n);
	struct ga_str field = { rest->p, comma != NULL ? (size_t)(comma - rest->p) : rest->n };

	rest->p += field.n + (comma != NULL);
	rest->n -= field.n + (comma != NULL);
	return field;
}

static bool
take_octets(struct ga_str text, unsigned char *out, size_t room, size_t *n)
{
	return text.n > 0 && SMTPD_BASE64_OCTETS(text.n) <= room && smtpd_base64_decode(text, out, n);
}

static bool
take_key(struct ga_str text, unsigned char key[KEY])
{
	unsigned char room[KEY + 1];	/* decoding rounds up to a multiple of 3 */
	size_t n = 0;
	bool ok = take_octets(text, room, sizeof room, &n) && n == KEY;

	if (ok)
		memcpy(key, room, KEY);
	explicit_bzero(room, sizeof room);
	return ok;
}

static bool
take_iterations(struct ga_str text, uint32_t *iterations)
{
	*iterations = 0;
	if (text.n == 0 || text.n > 8 || text.p[0] == '0')
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		*iterations = *iterations * 10 + (uint32_t)(text.p[i] - '0');
	}
	/* RFC 7677 4: at least 4096 */
	return *iterations >= 4096 && *iterations <= SMTPD_SCRAM_ITERATIONS_MAX;
}

bool
smtpd_scram_parse(struct ga_str s, struct smtpd_scram_keys *k)
{
	struct ga_str prefix = GA_STR("{SCRAM-SHA-256}");
	struct ga_str rest;

	if (!ga_str_starts(s, prefix))
		return false;
	rest = (struct ga_str){ s.p + prefix.n, s.n - prefix.n };
	return take_iterations(next_field(&rest), &k->iterations) &&
	    take_octets(next_field(&rest), k->salt, sizeof k->salt, &k->nsalt) && k->nsalt > 0 &&
	    take_key(next_field(&rest), k->stored_key) && take_key(rest, k->server_key);
}

static char *
put_octets(char *to, const unsigned char *p, size_t n)
{
	*to++ = ',';
	return to + smtpd_base64_encode(p, n, to);
}

void
smtpd_scram_print(const struct smtpd_scram_keys *k, char text[SMTPD_SCRAM_TEXT])
{
	char *p = text + snprintf(text, SMTPD_SCRAM_TEXT, "{SCRAM-SHA-256}%u", (unsigned)k->iterations);

	p = put_octets(p, k->salt, k->nsalt);
	p = put_octets(p, k->stored_key, KEY);
	p = put_octets(p, k->server_key, KEY);
	*p = '\0';
}

/* --- keys --- */

/* RFC 5802 2.2: SASLprep, which leaves ASCII as it is.  A new string or NULL. */
static char *
prepared(struct ga_str password)
{
	char *plain = ga_xcalloc(password.n + 1, 1), *prep = NULL;
	bool ascii = true;

	memcpy(plain, password.p, password.n);
	for (size_t i = 0; i < password.n; i++)
		ascii = ascii && (unsigned char)plain[i] >= ' ' && (unsigned char)plain[i] < 127;
	if (ascii)
		return plain;
#ifdef HAVE_GSASL
	if (gsasl_saslprep(plain, GSASL_ALLOW_UNASSIGNED, &prep, NULL) != GSASL_OK)
		prep = NULL;
#endif
	explicit_bzero(plain, password.n);
	free(plain);
	return prep;
}

static bool
key_of(const unsigned char salted[KEY], const char *label, unsigned char key[KEY])
{
	return gnutls_hmac_fast(GNUTLS_MAC_SHA256, salted, KEY, label, strlen(label), key) >= 0;
}

bool
smtpd_scram_derive(struct smtpd_scram_keys *k, struct ga_str password)
{
	unsigned char salted[KEY], client[KEY];
	char *text = prepared(password);
	gnutls_datum_t key, salt = { k->salt, (unsigned)k->nsalt };
	bool ok;

	if (text == NULL)
		return false;
	key = (gnutls_datum_t){ (unsigned char *)text, (unsigned)strlen(text) };
	ok = gnutls_pbkdf2(GNUTLS_MAC_SHA256, &key, &salt, k->iterations, salted, KEY) >= 0 &&
	    key_of(salted, "Client Key", client) && key_of(salted, "Server Key", k->server_key) &&
	    gnutls_hash_fast(GNUTLS_DIG_SHA256, client, KEY, k->stored_key) >= 0;
	explicit_bzero(text, key.size);
	free(text);
	explicit_bzero(salted, sizeof salted);
	explicit_bzero(client, sizeof client);
	return ok;
}

/* --- comparing --- */

static bool
scram_matches(const struct smtpd_scram_keys *k, struct ga_str password)
{
	struct smtpd_scram_keys mine = *k;
	bool same = smtpd_scram_derive(&mine, password) &&
	    gnutls_memcmp(mine.stored_key, k->stored_key, KEY) == 0;

	explicit_bzero(&mine, sizeof mine);
	return same;
}

const char *
smtpd_crypt_fault(const char *hash, bool *weak)
{
	int found = crypt_checksalt(hash);

	/* traditional DES has no `$`: any word could be one, a password too */
	if (hash[0] != '$')
		return "not a password hash of crypt(5) that begins with $";
	*weak = found == CRYPT_SALT_METHOD_LEGACY || found == CRYPT_SALT_TOO_CHEAP;
	if (found == CRYPT_SALT_METHOD_DISABLED)
		return "a kind of password hash that is switched off on this machine";
	return found == CRYPT_SALT_INVALID ? "not a password hash of crypt(5)" : NULL;
}

static bool
crypt_matches(const char *hash, const char *password)
{
	struct crypt_data *data = ga_xcalloc(1, sizeof *data);
	const char *mine = crypt_rn(password, hash, data, sizeof *data);
	size_t n = strlen(hash);
	bool same = mine != NULL && strlen(mine) == n && gnutls_memcmp(mine, hash, n) == 0;

	explicit_bzero(data, sizeof *data);
	free(data);
	return same;
}

bool
smtpd_password_matches(const struct smtpd_user *user, struct ga_str password)
{
	char *text;
	bool same;

	if (memchr(password.p, '\0', password.n) != NULL)
		return false;
	if (user->scram != NULL)
		return scram_matches(user->scram, password);
	text = ga_xcalloc(password.n + 1, 1);
	memcpy(text, password.p, password.n);
	same = crypt_matches(user->crypted, text);
	explicit_bzero(text, password.n);
	free(text);
	return same;
}
