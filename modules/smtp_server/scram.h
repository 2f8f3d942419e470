/*
 * scram.h - the server's side of SCRAM-SHA-256 (RFC 5802, 7677), through GNU SASL.
 *
 * Without GNU SASL smtpd_scram_built_in is false and nothing else may be called.
 * Cheap enough for a loop: with the keys kept there is no password to hash.
 */
#ifndef SMTPD_SCRAM_H
#define SMTPD_SCRAM_H

#include "users.h"

extern const bool smtpd_scram_built_in;

enum smtpd_scram_state {
	SMTPD_SCRAM_MORE,		/* out goes to the client, which answers */
	SMTPD_SCRAM_PROVEN,		/* the client knows the password; out goes to it too */
	SMTPD_SCRAM_REFUSED,
	SMTPD_SCRAM_FAILED		/* not the client's fault */
};

struct smtpd_scram;
/* users lives at least as long.  NULL: no memory. */
struct smtpd_scram *smtpd_scram_new(const struct smtpd_users *) GA_NODISCARD;
void smtpd_scram_free(struct smtpd_scram *);	/* NULL does nothing */
/* One message of the client, decoded; out lives until the next call. */
enum smtpd_scram_state smtpd_scram_step(struct smtpd_scram *, struct ga_str in,
    struct ga_str *out);
/* Who it is or would be; NULL: nobody we know. */
const struct smtpd_user *smtpd_scram_user(const struct smtpd_scram *);

#endif
