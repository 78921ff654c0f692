*** Settings ***
Suite Setup    Fail    no cluster

*** Test Cases ***
Never Runs
    No Operation
