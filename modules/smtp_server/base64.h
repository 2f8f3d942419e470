/*
 * base64.h - base64 as SASL needs it (RFC 4648 section 4): canonical or refused.
 */
#ifndef SMTPD_BASE64_H
#define SMTPD_BASE64_H

#include <greenarrow/ga_mem.h>

/* Octets that decoding n characters takes at most; characters that n octets need. */
#define SMTPD_BASE64_OCTETS(n) ((n) / 4 * 3)
#define SMTPD_BASE64_CHARS(n) (((n) + 2) / 3 * 4)

/*
 * Decodes into out, of SMTPD_BASE64_OCTETS(text.n) octets.  False: a character that is
 * none of base64's (blanks and line ends too), a length that is no multiple of 4,
 * padding that is missing, elsewhere than at the end, or hides bits.
 */
bool smtpd_base64_decode(struct ga_str text, unsigned char *out, size_t *n);
/* SMTPD_BASE64_CHARS(n) characters, no NUL; returns how many. */
size_t smtpd_base64_encode(const unsigned char *p, size_t n, char *out);

#endif
