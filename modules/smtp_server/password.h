/*
 * password.h - is this the password?  All of it may take long: helper threads only.
 */
#ifndef SMTPD_PASSWORD_H
#define SMTPD_PASSWORD_H

#include "users.h"

#define SMTPD_SCRAM_SALT_MAX 48u
#define SMTPD_SCRAM_ITERATIONS_MAX 10000000u

/* What RFC 5802 section 3 has a server keep, for SHA-256 (RFC 7677). */
struct smtpd_scram_keys {
	uint32_t iterations;
	size_t nsalt;
	unsigned char salt[SMTPD_SCRAM_SALT_MAX];
	unsigned char stored_key[32], server_key[32];
};

/*
 * `{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey`, the last three in base64: what
 * Dovecot and GNU SASL write too.  False: something else.
 */
bool smtpd_scram_parse(struct ga_str, struct smtpd_scram_keys *);
/* The same the other way round, with a NUL. */
#define SMTPD_SCRAM_TEXT 256
void smtpd_scram_print(const struct smtpd_scram_keys *, char text[SMTPD_SCRAM_TEXT]);
/* The keys of a password; salt and iterations are there already.  False: GnuTLS failed,
 * or the password cannot be prepared (RFC 4013). */
bool smtpd_scram_derive(struct smtpd_scram_keys *, struct ga_str password);

/* Why we or crypt(3) would not take this hash, NULL: it is taken.  *weak: but it is old or
 * cheap. */
const char *smtpd_crypt_fault(const char *hash, bool *weak);

/* Compares in constant time; a password with a NUL is nobody's. */
bool smtpd_password_matches(const struct smtpd_user *, struct ga_str password);

#endif
