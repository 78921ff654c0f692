Feature: Cart
  Scenario: passes
    Given a cart
  Scenario: fails
    Given a cart
    Then it is off by one
  Scenario: errs
    Given no database
  @skip
  Scenario: skipped
    Given a cart
  Scenario: undefined step
    Given nobody wrote this
  Scenario Outline: coin <coin>
    Given the coin <coin>
    Examples:
      | coin |
      | EUR  |
      | 日本円 |
  Scenario: größe
    Given a cart
