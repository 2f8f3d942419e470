/*
 * dialogue.h - steps that the tests of dialogues have in common, see world.h.  A reply
 * that is another than expected fails the test.
 */
#ifndef SMTPD_DIALOGUE_H
#define SMTPD_DIALOGUE_H

#include "world.h"

#define HELLO "EHLO client.example\r\n"
#define ENVELOPE "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n"
#define BEGIN ENVELOPE "DATA\r\n"
#define CHUNK "BDAT 6 LAST\r\na: b\r\n"
#define TEXT "Subject: hi\r\n\r\nbody\r\n"

/* Sends, and compares how what is heard begins. */
void expect(struct world *, const char *send, const char *reply);
void expect_n(struct world *, const char *send, size_t n, const char *reply);
/* A world whose client has been greeted; that has said EHLO too. */
struct world *connected(const char *statements);
struct world *greeted(const char *statements);
/* The message is this text behind our Received field. */
void assert_text(const struct world_message *, const char *text, size_t n);
void assert_str(struct ga_str, const char *text);
/* The last message that was taken. */
const struct world_message *last_message(const struct world *);
/* n octets (a multiple of 10) of lines, and the dot; free() it. */
char *large(size_t n);

#endif
