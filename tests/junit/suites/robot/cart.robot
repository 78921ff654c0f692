*** Test Cases ***
Passes
    No Operation

Fails
    Should Be Equal    8    9    off by <one> & more

Errs In Setup
    [Setup]    Fail    no database
    No Operation

Skipped
    Skip    no card reader

Größe 日本円
    No Operation

Templated
    [Template]    Should Not Be Equal
    a    b
    a    a
