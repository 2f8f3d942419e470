/*
 * users.h - who may authenticate: the file smtp_users.
 *
 * A line a user, `name:hash` or `name:hash:mail_class`; empty lines and lines that
 * begin with # do not count.  The hash is one of crypt(5), or what SCRAM-SHA-256 needs
 * to know in place of a password (scram.h), or begins with ! or *: that user is
 * locked out.  Once read it is immutable and shared by reference count.
 */
#ifndef SMTPD_USERS_H
#define SMTPD_USERS_H

#include "file.h"

#define SMTPD_USER_NAME_MAX 255u

struct smtpd_scram_keys;		/* password.h */
struct smtpd_user {
	struct ga_str name;
	const char *crypted;		/* NULL: not one of crypt(5) */
	const struct smtpd_scram_keys *scram;	/* NULL: none */
	struct ga_str mail_class;	/* of all the user's mail; empty: none is forced */
};

struct smtpd_users;

/*
 * Reads a file.  NULL: it could not be read, *error is the errno.  Faults are all told;
 * lines with an error are left out.  Blocks: not for a worker loop.
 */
struct smtpd_users *smtpd_users_read(const char *path, smtpd_fault_fn *, void *arg,
    int *error) GA_NODISCARD;
struct smtpd_users *smtpd_users_ref(struct smtpd_users *);
void smtpd_users_unref(struct smtpd_users *);	/* NULL does nothing */

/* NULL: not there, or locked out. */
const struct smtpd_user *smtpd_users_find(const struct smtpd_users *, struct ga_str name);
/* Somebody to do the work for when a name is not known: the same one for a name each
 * time, and nobody outside can tell which.  NULL: there is no user. */
const struct smtpd_user *smtpd_users_decoy(const struct smtpd_users *, struct ga_str name);
/* Does anybody have SCRAM keys? */
bool smtpd_users_have_scram(const struct smtpd_users *);
/* If so: keys that nobody has, for a name that has none.  Salt and iterations are the same
 * for a name each time and look like those of the others.  False: GnuTLS failed. */
bool smtpd_users_fake_keys(const struct smtpd_users *, struct ga_str name,
    struct smtpd_scram_keys *);

/* Is this a name that smtp_users can hold: 1 to 255 octets, no colon, no control
 * character, no blank at either end, no # in front. */
bool smtpd_user_name_valid(struct ga_str);

#endif
