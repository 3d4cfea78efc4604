"""All errors as one tree. Branches say what the caller may do, leaves say what happened.

`mail_server` has the errors between us and a mail server, `requests` those of a request to the API, `inside` those of the
gateway itself. Import them from here.

GatewayError                      code, retryable
├── SettingsIncomplete            the process refuses to start
├── Unauthenticated               401
├── Forbidden                     403
│   └── ScopeMissing
├── NotFound                      404
├── Conflict                      409
│   ├── AlreadyExists
│   ├── MailboxTaken
│   ├── WrongState
│   ├── CycleRunning
│   ├── MessagesStored
│   ├── SubmissionsQueued
│   ├── IdempotencyMismatch
│   ├── IdempotencyKeySpent
│   ├── AlreadyAnswered
│   ├── AnswerToAutomaticMail
│   └── AttachmentUnreadable
├── PreconditionFailed            412, the object is not the version that If-Match names
├── CursorGone                    410, with the cursors to begin again
├── InvalidInput                  422, with errors[{pointer, detail}]
├── RequestTooSlow                408
├── TooLarge                      413
├── TooManyRequests               429, with Retry-After
│   ├── TooManyRefusedLogins
│   ├── TooManyConnectors
│   └── TooManyLinks
├── Overloaded                    503, with Retry-After
├── ParserBusy                    503, with Retry-After
├── MailServerError
│   ├── MailServerRejected        502, the server refused
│   │   ├── LoginRefused
│   │   │   └── ApplicationPasswordNeeded
│   │   ├── PasswordExpired
│   │   ├── PrivacyRequired
│   │   ├── AdministratorNeeded
│   │   ├── AuthorizationFailed
│   │   ├── AccessDenied
│   │   ├── ImapSwitchedOff
│   │   ├── SmtpSwitchedOff
│   │   ├── WebLoginNeeded
│   │   ├── PasswordLoginSwitchedOff
│   │   ├── NoLoginMethod
│   │   ├── LoginNotPossible
│   │   ├── FolderMissing
│   │   ├── ProcessedFolderMissing
│   │   ├── SameFolder
│   │   ├── FolderNotSelectable
│   │   ├── FolderForbidden
│   │   ├── FolderReadOnly
│   │   ├── NoRightToMove
│   │   ├── CopyNotRemoved
│   │   ├── CopiesUnknown
│   │   ├── OverQuota
│   │   ├── CommandRefused
│   │   ├── LoginWanted
│   │   ├── SenderRefused
│   │   ├── RecipientRefused
│   │   ├── Bounced
│   │   ├── MailRefused
│   │   ├── MailTooLarge
│   │   ├── OutcomeUnknown
│   │   ├── CertificateRefused
│   │   │   ├── CertificateExpired
│   │   │   ├── CertificateNotYetValid
│   │   │   ├── CertificateForOtherName
│   │   │   ├── CertificateIssuerUnknown
│   │   │   └── CertificateSelfSigned
│   │   ├── NotTls
│   │   ├── TlsExpected
│   │   ├── StarttlsNotOffered
│   │   ├── TlsTooOld
│   │   ├── NotImap
│   │   └── NotSmtp
│   ├── MailServerUnavailable     503, try again later
│   │   ├── HostUnreachable
│   │   │   └── ConnectionRefused
│   │   ├── TlsFailed
│   │   ├── ConnectionLost
│   │   ├── MailDeferred
│   │   ├── SendingRateReached
│   │   ├── SendingLimitReached
│   │   ├── TooManyConnections
│   │   ├── LoginNotUnderstood
│   │   ├── MailNotGiven
│   │   └── Throttled
│   └── MailServerTimeout         504
│       ├── ConnectTimedOut
│       └── NoGreeting
├── SecretUnreadable              500, no key decrypts it
├── StoreUnavailable              503, the database cannot be used now
│   └── StoreInUse                another process serves from this SQLite file
├── ValueRefused                  422, the database does not take a value
├── NoRoom                        503, shown at a connector: no more mail is kept
│   ├── QuotaReached
│   └── DiskNearlyFull
├── LeaseLost                     internal: another instance took the mailbox over
└── SettingsChanged               internal: the connector was changed while its cycle ran

`str(error)` is the sentence for callers. It holds no secret and no words of the mail server. These words are in fields: for the log,
and for callers who may see the settings of the connector.
"""

from app.errors.inside import (
    DiskNearlyFull,
    LeaseLost,
    NoRoom,
    QuotaReached,
    SecretUnreadable,
    SettingsChanged,
    SettingsIncomplete,
    StoreInUse,
    StoreUnavailable,
    ValueRefused,
)
from app.errors.mail_server import (
    CERTIFICATE_CODES,
    REFUSED_LOGIN_CODES,
    AccessDenied,
    AdministratorNeeded,
    ApplicationPasswordNeeded,
    AuthorizationFailed,
    Bounced,
    CertificateExpired,
    CertificateForOtherName,
    CertificateIssuerUnknown,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateSelfSigned,
    CommandRefused,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimedOut,
    CopiesUnknown,
    CopyNotRemoved,
    FolderForbidden,
    FolderMissing,
    FolderNotSelectable,
    FolderReadOnly,
    HostUnreachable,
    ImapSwitchedOff,
    LoginNotPossible,
    LoginNotUnderstood,
    LoginRefused,
    LoginWanted,
    MailDeferred,
    MailNotGiven,
    MailRefused,
    MailServerError,
    MailServerRejected,
    MailServerTimeout,
    MailServerUnavailable,
    MailTooLarge,
    NoGreeting,
    NoLoginMethod,
    NoRightToMove,
    NotImap,
    NotSmtp,
    NotTls,
    OutcomeUnknown,
    OverQuota,
    PasswordExpired,
    PasswordLoginSwitchedOff,
    PrivacyRequired,
    ProcessedFolderMissing,
    RecipientRefused,
    SameFolder,
    SenderRefused,
    SendingLimitReached,
    SendingRateReached,
    SmtpSwitchedOff,
    StarttlsNotOffered,
    Throttled,
    TlsExpected,
    TlsFailed,
    TlsTooOld,
    TooManyConnections,
    WebLoginNeeded,
)
from app.errors.requests import (
    AlreadyAnswered,
    AlreadyExists,
    AnswerToAutomaticMail,
    AttachmentUnreadable,
    Conflict,
    CursorGone,
    CycleRunning,
    FieldFault,
    Forbidden,
    IdempotencyKeySpent,
    IdempotencyMismatch,
    InvalidInput,
    MailboxTaken,
    MessagesStored,
    NotFound,
    Overloaded,
    ParserBusy,
    PreconditionFailed,
    RequestTooSlow,
    ScopeMissing,
    SubmissionsQueued,
    TooLarge,
    TooManyConnectors,
    TooManyLinks,
    TooManyRefusedLogins,
    TooManyRequests,
    Unauthenticated,
    WrongState,
)
from app.errors.root import (
    GatewayError,
)

__all__ = [
    "CERTIFICATE_CODES",
    "REFUSED_LOGIN_CODES",
    "AccessDenied",
    "AdministratorNeeded",
    "AlreadyAnswered",
    "AlreadyExists",
    "AnswerToAutomaticMail",
    "ApplicationPasswordNeeded",
    "AttachmentUnreadable",
    "AuthorizationFailed",
    "Bounced",
    "CertificateExpired",
    "CertificateForOtherName",
    "CertificateIssuerUnknown",
    "CertificateNotYetValid",
    "CertificateRefused",
    "CertificateSelfSigned",
    "CommandRefused",
    "Conflict",
    "ConnectTimedOut",
    "ConnectionLost",
    "ConnectionRefused",
    "CopiesUnknown",
    "CopyNotRemoved",
    "CursorGone",
    "CycleRunning",
    "DiskNearlyFull",
    "FieldFault",
    "FolderForbidden",
    "FolderMissing",
    "FolderNotSelectable",
    "FolderReadOnly",
    "Forbidden",
    "GatewayError",
    "HostUnreachable",
    "IdempotencyKeySpent",
    "IdempotencyMismatch",
    "ImapSwitchedOff",
    "InvalidInput",
    "LeaseLost",
    "LoginNotPossible",
    "LoginNotUnderstood",
    "LoginRefused",
    "LoginWanted",
    "MailDeferred",
    "MailNotGiven",
    "MailRefused",
    "MailServerError",
    "MailServerRejected",
    "MailServerTimeout",
    "MailServerUnavailable",
    "MailTooLarge",
    "MailboxTaken",
    "MessagesStored",
    "NoGreeting",
    "NoLoginMethod",
    "NoRightToMove",
    "NoRoom",
    "NotFound",
    "NotImap",
    "NotSmtp",
    "NotTls",
    "OutcomeUnknown",
    "OverQuota",
    "Overloaded",
    "ParserBusy",
    "PasswordExpired",
    "PasswordLoginSwitchedOff",
    "PreconditionFailed",
    "PrivacyRequired",
    "ProcessedFolderMissing",
    "QuotaReached",
    "RecipientRefused",
    "RequestTooSlow",
    "SameFolder",
    "ScopeMissing",
    "SecretUnreadable",
    "SenderRefused",
    "SendingLimitReached",
    "SendingRateReached",
    "SettingsChanged",
    "SettingsIncomplete",
    "SmtpSwitchedOff",
    "StarttlsNotOffered",
    "StoreInUse",
    "StoreUnavailable",
    "SubmissionsQueued",
    "Throttled",
    "TlsExpected",
    "TlsFailed",
    "TlsTooOld",
    "TooLarge",
    "TooManyConnections",
    "TooManyConnectors",
    "TooManyLinks",
    "TooManyRefusedLogins",
    "TooManyRequests",
    "Unauthenticated",
    "ValueRefused",
    "WebLoginNeeded",
    "WrongState",
]
